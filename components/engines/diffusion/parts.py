"""Text encoder, denoiser and autoencoder of a model folder: what is trained, loaded and saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from components.engines.base.errors import UsageError
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.denoiser import FOLDERS, denoise, is_unet, load_denoiser, load_scheduler
from components.engines.latents.autoencoder import denormalised, load_autoencoder

_PIPELINES = {
    ("UNet2DConditionModel", "AutoencoderKL"): "StableDiffusionPipeline",
    ("PixArtTransformer2DModel", "AutoencoderKL"): "PixArtAlphaPipeline",
    ("WanTransformer3DModel", "AutoencoderKLWan"): "WanPipeline",
    ("LatteTransformer3DModel", "AutoencoderKL"): "LattePipeline",
    ("CogVideoXTransformer3DModel", "AutoencoderKLCogVideoX"): "CogVideoXPipeline",
}


class Parts:
    """The parts of a model that makes pictures or videos. All stay where they are put (`to`); pictures come back to the CPU."""

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
        return type(self)(load_denoiser(network).to(self.device), self.vae, self.text, self.scheduler)

    def save(self, folder: Path) -> None:
        """Write what plain diffusers loads as the pipeline of these kinds of parts (safetensors); where it has none (Latte or a
        U-Net on Wan's latents, experts), the same folders without a pipeline's index."""
        import diffusers

        part = FOLDERS["unet" if is_unet(self.network) else "dit"]
        name = _PIPELINES.get((type(self.network).__name__, type(self.vae).__name__))
        if name is None:
            self.network.save_pretrained(folder / part, safe_serialization=True)
            self.vae.save_pretrained(folder / "vae", safe_serialization=True)
            self.scheduler.save_pretrained(folder / "scheduler")
            self.text.save(folder)
            return
        shared = {
            "vae": self.vae,
            "text_encoder": self.text_encoder,
            "tokenizer": self.tokenizer,
            "scheduler": self.scheduler,
        }
        none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        extra = none if name == "StableDiffusionPipeline" else {}
        pipeline = getattr(diffusers, name)(**{part: self.network}, **shared, **extra)
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
    def latent_shape(self) -> tuple[int, ...]:
        """(channels, side, side) of what the denoiser of pictures works on."""
        config = self.network.config
        return config.in_channels, config.sample_size, config.sample_size

    def encode_prompts(self, prompts: Sequence[str]) -> tuple[Any, Any]:
        """Embeddings [n, tokens, width] and mask [n, tokens]."""
        return self.text.encode(prompts)

    def denoise(self, latents: Any, timesteps: Any, embeddings: Any, mask: Any) -> Any:
        """What the network predicts (noise or velocity, as `scheduler.config.prediction_type` says), of the latents' shape."""
        return denoise(self.network, latents, timesteps, embeddings, mask)

    def decode(self, latents: Any) -> Any:
        """Normalised latents -> pictures [n, 3, px, px], or videos [n, 3, frames, height, width], in [0, 1]."""
        pictures = self.vae.decode(denormalised(self.vae, latents)).sample
        return (pictures.float() / 2 + 0.5).clamp(0, 1)
