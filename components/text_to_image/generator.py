"""From prompts to pictures: text encoder, denoiser and autoencoder of a trained model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from components.engines.base.errors import UsageError
from components.text_to_image.conditioning import Conditioner
from components.text_to_image.model import (
    FOLDERS,
    denoise,
    denormalised,
    is_unet,
    load_autoencoder,
    load_denoiser,
    load_scheduler,
)


class Generator:
    """The parts of a text-to-image model. All of them stay where they are put (`to`); pictures come back to the CPU."""

    def __init__(self, network: Any, vae: Any, text: Conditioner, scheduler: Any) -> None:
        self.network, self.vae, self.text, self.scheduler = network.eval(), vae.eval(), text, scheduler

    @classmethod
    def load(cls, folder: str | Path, network: str | Path | None = None) -> Self:
        """From a folder in the layout of a pipeline of diffusers; `network` is a folder with another denoiser for it.

        Raises UsageError if a part is missing or is none that is known here.
        """
        folder = Path(folder)
        found = [name for name in FOLDERS.values() if (folder / name).is_dir()]
        if network is None and len(found) != 1:
            raise UsageError(
                f"A model folder has {' or '.join(FOLDERS.values())}, this one has {found or 'neither'}",
                where=str(folder),
                do="name a folder that the stage `train` wrote, or a pipeline saved by diffusers",
            )
        denoiser = load_denoiser(network) if network is not None else load_denoiser(folder, found[0])
        vae, scheduler = load_autoencoder(folder, "vae"), load_scheduler(folder, "scheduler")
        return cls(denoiser, vae, Conditioner.load(folder), scheduler)

    def with_network(self, network: str | Path) -> Self:
        """The same parts around another denoiser, from its folder."""
        return type(self)(load_denoiser(network), self.vae, self.text, self.scheduler)

    def save(self, folder: Path) -> None:
        """Write what plain diffusers loads as StableDiffusionPipeline or PixArtAlphaPipeline (safetensors)."""
        from diffusers import PixArtAlphaPipeline, StableDiffusionPipeline

        shared = {
            "vae": self.vae,
            "text_encoder": self.text_encoder,
            "tokenizer": self.tokenizer,
            "scheduler": self.scheduler,
        }
        if is_unet(self.network):
            none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            pipeline: Any = StableDiffusionPipeline(unet=self.network, **shared, **none)
        else:
            pipeline = PixArtAlphaPipeline(transformer=self.network, **shared)
        pipeline.save_pretrained(folder, safe_serialization=True)

    @property
    def text_encoder(self) -> Any:
        return self.text.network

    @property
    def tokenizer(self) -> Any:
        return self.text.tokenizer

    @property
    def device(self) -> Any:
        return next(self.network.parameters()).device

    def to(self, device: Any) -> Self:
        for part in (self.network, self.vae, self.text_encoder):
            part.to(device)
        return self

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, side, side) of what the denoiser works on."""
        config = self.network.config
        return config.in_channels, config.sample_size, config.sample_size

    def encode_prompts(self, prompts: Sequence[str]) -> tuple[Any, Any]:
        """Embeddings [n, tokens, width] and mask [n, tokens]."""
        return self.text.encode(prompts)

    def denoise(self, latents: Any, timesteps: Any, embeddings: Any, mask: Any) -> Any:
        """What the network predicts (noise or velocity, as `scheduler.config.prediction_type` says), of the latents' shape."""
        return denoise(self.network, latents, timesteps, embeddings, mask)

    def decode(self, latents: Any) -> Any:
        """Normalised latents -> pictures [n, 3, px, px] in [0, 1]."""
        pictures = self.vae.decode(denormalised(self.vae, latents)).sample
        return (pictures.float() / 2 + 0.5).clamp(0, 1)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        steps: int = 20,
        guidance: float = 3.0,
        negative_prompts: Sequence[str] | None = None,
        sampler: str = "ddim",
        batch_size: int = 64,
    ) -> Any:
        """Pictures [n, 3, px, px], float32 in [0, 1], on the CPU.

        Picture i is a function of the model, the settings, its prompts and seeds[i] alone (batching changes no more than
        float rounding does). Raises UsageError for lists that differ in length, and an unknown sampler.
        """
        import torch

        negatives = list(negative_prompts) if negative_prompts is not None else [""] * len(prompts)
        if not len(prompts) == len(seeds) == len(negatives):
            raise UsageError(
                f"{len(prompts)} prompts have {len(seeds)} seeds and {len(negatives)} negative prompts",
                do="give one of each for every picture",
            )
        if not prompts:
            raise UsageError("There are no prompts", do="give at least one")
        made = []
        for start in range(0, len(prompts), batch_size):
            part = slice(start, start + batch_size)
            with torch.inference_mode():
                made.append(self._batch(prompts[part], seeds[part], negatives[part], steps, guidance, sampler))
        return torch.cat(made)

    def _batch(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        negatives: Sequence[str],
        steps: int,
        guidance: float,
        sampler: str,
    ) -> Any:
        from components.engines.generation.diffusion import make_schedule, sample_latents

        latents = sample_latents(
            self.denoise,
            make_schedule(sampler, self.scheduler),
            self.latent_shape,
            seeds,
            self.encode_prompts(prompts),
            null=self.encode_prompts(negatives) if guidance != 1 else None,
            steps=steps,
            guidance=guidance,
            device=self.device,
        )
        return self.decode(latents).cpu()
