"""Diffusion training of the denoiser, and the finished model folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.params import Fraction, Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, require_something, train_stage
from components.text_to_image.architecture import Architecture


class Train(Trained):
    """Diffusion training: `caption_dropout` of the captions are replaced by the empty one; `on_the_fly` runs both encoders in
    every step instead of reading what `precompute` stored; `checked_samples` of those are encoded again before training.

    Not `enabled`, the checkpoint's denoiser is used as it is.
    """

    caption_dropout: Fraction = 0.1
    on_the_fly: bool = False
    checked_samples: Annotated[int, Field(gt=0)] = 4
    valid_samples: Positive = 512


def train(
    params: Train,
    architecture: Architecture,
    context: StageContext,
    curated: Path,
    autoencoder: Path,
    text_encoder: Path,
    latents: Path,
    model: Path,
    train_curve: Path,
) -> None:
    """Write the model folder (a pipeline of diffusers: denoiser, autoencoder, text encoder, scheduler) and the loss curve (CSV).

    Raises StageError if the stored latents are not what the encoders make of the pictures now.
    """
    from components.engines.diffusion.encoding import CaptionedEncoder, encoding_key
    from components.engines.latents.cache import check_encoded

    require_something(context, params, architecture.init_from)
    if params.enabled and not params.on_the_fly:
        check_encoded(
            latents,
            partial(CaptionedEncoder, autoencoder, text_encoder, architecture.image_px),
            curated,
            key=encoding_key(autoencoder, text_encoder, architecture.image_px),
            samples=params.checked_samples,
            seed=params.training.seed,
        )
    make_task = partial(denoising, params, architecture, curated, autoencoder, text_encoder, latents)
    learnt = train_stage(context, params, make_task, train_curve)
    generator = start(architecture, autoencoder, text_encoder, params.training.seed)
    learnt.load(generator.network, "network")
    generator.save(model)


def denoising(
    params: Train, architecture: Architecture, curated: Path, autoencoder: Path, text_encoder: Path, latents: Path
) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.diffusion.encoding import CaptionedEncoder
    from components.engines.diffusion.task import CachedInputs, Denoising, EncodedInputs
    from components.engines.latents.cache import EncodedSamples

    generator = start(architecture, autoencoder, text_encoder, params.training.seed)
    # on the CPU: the loop moves them, with the denoiser
    encoder = CaptionedEncoder(autoencoder, text_encoder, architecture.image_px, "cpu") if params.on_the_fly else None

    def inputs(split: str) -> Any:
        if encoder is None:
            return CachedInputs(EncodedSamples(latents, split))
        return EncodedInputs(CaptionedImages(curated, split), encoder)

    return Denoising(
        generator.network.train(),
        generator.scheduler,
        inputs("train"),
        inputs("valid"),
        generator.encode_prompts([""]),
        caption_dropout=params.caption_dropout,
        valid_samples=params.valid_samples,
        seed=params.training.seed,
    )


def start(architecture: Architecture, autoencoder: Path, text_encoder: Path, seed: int) -> Any:
    """What training starts from: a denoiser, random from `seed` or as `init_from` has it, with the frozen encoders."""
    from components.engines.base.seeds import seed_everything
    from components.engines.diffusion import denoiser as denoisers
    from components.engines.diffusion.conditioning import Conditioner
    from components.engines.diffusion.parts import Parts
    from components.engines.latents.autoencoder import load_autoencoder

    vae, conditioner = load_autoencoder(autoencoder), Conditioner.load(text_encoder)
    seed_everything(seed, "denoiser")
    if architecture.init_from:
        network = denoisers.load_denoiser(architecture.init_from, denoisers.FOLDERS[architecture.network])
        scheduler = denoisers.load_scheduler(architecture.init_from, "scheduler")
    else:
        network = denoisers.build_denoiser(
            architecture, architecture.latent_px, vae.config.latent_channels, conditioner.width
        )
        scheduler = denoisers.build_scheduler(architecture.noise)
    latent_px = architecture.image_px // 2 ** (len(vae.config.block_out_channels) - 1)
    if (vae.config.latent_channels, latent_px) != (network.config.in_channels, network.config.sample_size):
        raise UsageError(
            f"Latents are {vae.config.latent_channels} x {latent_px} x {latent_px}, but the denoiser wants "
            f"{network.config.in_channels} x {network.config.sample_size} x {network.config.sample_size}",
            where="params.yaml, text_to_image.architecture",
            do="set image_px to the size of the checkpoint's pictures",
        )
    return Parts(network, vae, conditioner, scheduler)


if __name__ == "__main__":
    stage.main(train)
