"""Captioned videos -> latents and text embeddings: what is cached, or made anew in every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.engines.base.errors import BadRecord
from components.engines.base.paths import digest_path, read_json, write_json
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.encoding import encode_pixels
from components.engines.latents.autoencoder import load_autoencoder
from components.engines.latents.cache import EncodedSamples
from components.engines.latents.picture_convolution import quicken
from components.engines.nn.device import own_device
from components.engines.shards.manifest import read_manifest
from components.engines.videos.buckets import Bucket, bucket_of, fitted, preprocessing
from components.engines.videos.dataset import Video

SHAPES = "shapes.json"  # beside the shards of the cache


class Fitted(NamedTuple):
    """A video as its bucket has it: pixels [3, frames, height, width] in [-1, 1]."""

    pixels: Any
    caption: str


class VideoEncoder:
    """Both frozen encoders (an `Encoder` of the cache). Videos that fill no bucket raise BadRecord.

    A sample becomes `latents` [channels, frames, height, width] (normalised; the posterior's mean), `still`, the latents
    [channels, 1, height, width] of its middle frame as a picture, `embeddings` [tokens, width] and `mask` [tokens], uint8.
    """

    def __init__(
        self, autoencoder: Path, text_encoder: Path, buckets: Sequence[Bucket], device: str | None = None
    ) -> None:
        self.device, self.buckets = device or own_device(), tuple(buckets)
        self.autoencoder = quicken(load_autoencoder(autoencoder)).eval().requires_grad_(False).to(self.device)
        self.conditioner = Conditioner.load(text_encoder)
        self.conditioner.network.to(self.device)

    def decode(self, sample: dict[str, Any]) -> Fitted:
        return self.fitted(Video.from_sample(sample))

    def fitted(self, video: Video) -> Fitted:
        known = video.metadata
        bucket = bucket_of(known["frames"], known["height"], known["width"], self.buckets)
        if bucket is None:
            raise BadRecord("fills no bucket", f"{known['frames']} frames")
        return Fitted(fitted(video.frames(), bucket), video.caption)

    def encode(self, items: list[Fitted]) -> list[dict[str, np.ndarray]]:
        embeddings, masks = (tensor.cpu().numpy() for tensor in self.conditioner.encode([one.caption for one in items]))
        latents = self._encoded([one.pixels for one in items])
        stills = self._encoded([middle(one.pixels) for one in items])
        return [
            {"latents": video, "still": still, "embeddings": embedding, "mask": mask.astype(np.uint8)}
            for video, still, embedding, mask in zip(latents, stills, embeddings, masks, strict=True)
        ]

    def _encoded(self, pixels: list[Any]) -> list[np.ndarray]:
        """Those of one shape together."""
        import torch

        groups: dict[tuple[int, ...], list[int]] = {}
        for place, one in enumerate(pixels):
            groups.setdefault(tuple(one.shape), []).append(place)
        found: dict[int, np.ndarray] = {}
        for places in groups.values():
            batch = torch.stack([pixels[place] for place in places]).to(self.device)
            found |= dict(zip(places, encode_pixels(self.autoencoder, batch).cpu().numpy(), strict=True))
        return [found[place] for place in range(len(pixels))]


def middle(pixels: Any) -> Any:
    """[3, frames, height, width] -> [3, 1, height, width]"""
    place = pixels.shape[1] // 2
    return pixels[:, place : place + 1]


def write_shapes(latents: Path) -> None:
    """Write the shapes of all stored latents beside them: what a batch is grouped by, without reading them."""
    shapes = {
        split: [list(one["latents"].shape) for one in EncodedSamples(latents, split)]
        for split in read_manifest(latents).splits
    }
    write_json(latents / SHAPES, shapes)


def read_shapes(latents: Path, split: str) -> list[tuple[int, ...]]:
    """(channels, frames, height, width) of every sample's latents."""
    return [tuple(shape) for shape in read_json(latents / SHAPES)[split]]


def video_encoding_key(autoencoder: Path, text_encoder: Path, buckets: Sequence[Bucket]) -> dict[str, Any]:
    """What latents and embeddings depend on besides the samples."""
    return {
        "autoencoder": digest_path(autoencoder),
        "text encoder": digest_path(text_encoder),
        "preprocessing": preprocessing(buckets),
    }
