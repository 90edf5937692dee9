"""Captioned pictures -> latents and text embeddings: what is cached, or made anew in every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from components.engines.base.paths import digest_path
from components.engines.diffusion.conditioning import Conditioner
from components.engines.images.pixels import preprocessing, to_pixels
from components.engines.latents.autoencoder import load_autoencoder, normalised
from components.engines.nn.device import own_device


class CaptionedEncoder:
    """Both frozen encoders (an `Encoder` of the cache).

    A sample becomes `latents` [channels, side, side] (normalised; the mean of the posterior), `embeddings` [tokens, width] and
    `mask` [tokens], uint8.
    """

    def __init__(self, autoencoder: Path, text_encoder: Path, image_px: int, device: str | None = None) -> None:
        self.device = device or own_device()
        self.image_px = image_px
        self.autoencoder = load_autoencoder(autoencoder).eval().requires_grad_(False).to(self.device)
        self.conditioner = Conditioner.load(text_encoder)
        self.conditioner.network.to(self.device)

    def decode(self, sample: dict[str, Any]) -> tuple[Any, str]:
        from components.engines.captioned.dataset import Captioned

        found = Captioned.from_sample(sample)
        return to_pixels([found.open()], self.image_px)[0], found.caption

    def encode(self, items: list[tuple[Any, str]]) -> list[dict[str, np.ndarray]]:
        import torch

        pixels = torch.stack([pixels for pixels, _ in items])
        latents = encode_pixels(self.autoencoder, pixels.to(self.device)).cpu().numpy()
        embeddings, mask = (tensor.cpu().numpy() for tensor in self.conditioner.encode([text for _, text in items]))
        return [
            {"latents": one, "embeddings": embedding, "mask": kept.astype(np.uint8)}
            for one, embedding, kept in zip(latents, embeddings, mask, strict=True)
        ]


def encode_pixels(autoencoder: Any, pixels: Any) -> Any:
    """Pixels [n, 3, px, px] in [-1, 1] -> normalised latents [n, channels, side, side], float32: the posterior's mean."""
    import torch

    with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
        return normalised(autoencoder, autoencoder.encode(pixels).latent_dist.mode())


def encoding_key(autoencoder: Path, text_encoder: Path, image_px: int) -> dict[str, Any]:
    """What latents and embeddings depend on besides the samples."""
    return {
        "autoencoder": digest_path(autoencoder),
        "text encoder": digest_path(text_encoder),
        "preprocessing": preprocessing(image_px),
    }
