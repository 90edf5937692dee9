"""What the training of the denoiser starts from, and the inputs of its task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.text_to_video.architecture import Architecture, Denoiser, check_together


def start(
    architecture: Architecture,
    denoiser: Denoiser,
    autoencoder: Path,
    text_encoder: Path,
    seed: int,
    network: Path | None = None,
) -> Any:
    """A denoiser, random from `seed`, as `init_from` has it or from the folder `network`, with the frozen encoders."""
    from components.engines.base.seeds import seed_everything
    from components.engines.diffusion.conditioning import Conditioner
    from components.engines.diffusion.denoiser import FOLDERS, build_scheduler, load_denoiser, load_scheduler
    from components.engines.diffusion.parts import Parts
    from components.engines.diffusion.video import build_video_denoiser
    from components.engines.latents.autoencoder import load_autoencoder
    from components.engines.latents.video import latent_shape

    check_together(architecture, denoiser)
    vae, conditioner = load_autoencoder(autoencoder), Conditioner.load(text_encoder)
    longest = architecture.longest
    channels, frames, height, width = latent_shape(vae, longest.frames, longest.height, longest.width)
    seed_everything(seed, "denoiser")
    given = architecture.init_from
    scheduler = load_scheduler(given, "scheduler") if given else build_scheduler(denoiser.noise)
    if network is not None:
        built = load_denoiser(network)
    elif given:
        folder = FOLDERS["unet" if denoiser.network == "unet3d" else "dit"]
        built = load_denoiser(given, folder)
    else:
        built = build_video_denoiser(
            denoiser, channels, frames, max(height, width), conditioner.width, conditioner.max_tokens
        )
    if built.config.in_channels != channels:
        raise UsageError(
            f"Latents have {channels} channels, but the denoiser wants {built.config.in_channels}",
            where="params.yaml, text_to_video.architecture",
            do="take autoencoder and denoiser from one checkpoint",
        )
    return Parts(built, vae, conditioner, scheduler)


def check_cache(
    architecture: Architecture,
    curated: Path,
    autoencoder: Path,
    text_encoder: Path,
    latents: Path,
    samples: int,
    seed: int,
) -> None:
    """Raises StageError if the stored latents are not what the encoders make of the clips now."""
    from components.engines.diffusion.video_encoding import VideoEncoder, video_encoding_key
    from components.engines.latents.cache import check_encoded

    check_encoded(
        latents,
        partial(VideoEncoder, autoencoder, text_encoder, architecture.buckets),
        curated,
        key=video_encoding_key(autoencoder, text_encoder, architecture.buckets),
        samples=samples,
        seed=seed,
    )
