"""The diffusion task on videos and pictures together: a batch is a group a shape, and pictures are videos of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from components.engines.diffusion.encoding import encode_pixels
from components.engines.diffusion.task import CachedInputs, Denoising, Inputs
from components.engines.diffusion.video_encoding import VideoEncoder, middle, read_shapes
from components.engines.latents.cache import EncodedSamples
from components.engines.latents.video import latent_shape
from components.engines.training.task import Batch
from components.engines.videos.buckets import bucket_of
from components.engines.videos.dataset import Video

Kind = Literal["latents", "still"]  # whole videos, or of each the middle frame


class CachedVideos(CachedInputs):
    """What the stage `cache_latents` stored of the samples at `places` (all of them by default); `shapes` of their latents."""

    def __init__(self, folder: Path, split: str, places: Sequence[int] | None = None, kind: Kind = "latents") -> None:
        super().__init__(EncodedSamples(folder, split))
        self.kind: Kind = kind
        shapes = read_shapes(folder, split)
        self.places = range(len(shapes)) if places is None else places
        self.shapes = [shapes[place] if kind == "latents" else one_frame(shapes[place]) for place in self.places]

    def __len__(self) -> int:
        return len(self.places)

    def collate(self, indices: Sequence[int]) -> Batch:
        chosen = [self.samples[self.places[index]] for index in indices]
        names = {"latents": self.kind, "embeddings": "embeddings", "mask": "mask"}
        batch = {ours: torch.from_numpy(np.stack([one[name] for one in chosen])) for ours, name in names.items()}
        return {**batch, "mask": batch["mask"].long()}


class EncodedVideos:
    """Videos and captions that go through both encoders in every step."""

    def __init__(
        self, videos: Sequence[Video], encoder: VideoEncoder, places: Sequence[int], kind: Kind = "latents"
    ) -> None:
        self.videos, self.encoder, self.places, self.kind = videos, encoder, places, kind
        self.frozen: dict[str, Any] = {"autoencoder": encoder.autoencoder, "text_encoder": encoder.conditioner.network}
        self.shapes = [self._shape(videos[place]) for place in places]

    def _shape(self, video: Video) -> tuple[int, ...]:
        known = video.metadata
        bucket = bucket_of(known["frames"], known["height"], known["width"], self.encoder.buckets)
        assert bucket is not None, "places hold videos that fill a bucket"
        frames = bucket.frames if self.kind == "latents" else 1
        return latent_shape(self.encoder.autoencoder, frames, bucket.height, bucket.width)

    def __len__(self) -> int:
        return len(self.places)

    def collate(self, indices: Sequence[int]) -> Batch:
        chosen = [self.encoder.fitted(self.videos[self.places[index]]) for index in indices]
        ids, mask = self.encoder.conditioner.tokens([one.caption for one in chosen])
        pixels = [one.pixels if self.kind == "latents" else middle(one.pixels) for one in chosen]
        return {"pixels": torch.stack(pixels), "ids": ids, "mask": mask}

    def latents(self, batch: Batch) -> Tensor:
        return encode_pixels(self.encoder.autoencoder, batch["pixels"])

    def embeddings(self, batch: Batch) -> Tensor:
        return self.encoder.conditioner.embed(batch["ids"], batch["mask"])


class VideoDenoising(Denoising):
    """Denoising whose samples differ in shape: a batch holds a group of tensors for each shape, named `0.noise`, `1.noise` …

    `train` and `valid` are CachedVideos or EncodedVideos. Every sample weighs the same, whatever its length.
    """

    train: Any
    valid: Any

    def _collate(self, inputs: Inputs, indices: np.ndarray, dropout: float, purpose: str) -> Batch:
        groups: dict[tuple[int, ...], list[int]] = {}
        for index in indices.tolist():
            groups.setdefault(inputs.shapes[index], []).append(index)  # type: ignore[attr-defined]
        return {
            f"{number}.{name}": tensor
            for number, (shape, members) in enumerate(sorted(groups.items()))
            for name, tensor in self._collated(inputs, np.array(members), shape, dropout, purpose).items()
        }

    def count_tokens(self, batch: Batch) -> int:
        """Places of the latents."""
        return sum(group["noise"][:, 0].numel() for group in groups_of(batch))

    def _loss(self, inputs: Inputs, batch: Batch) -> Tensor:
        return torch.stack([super(VideoDenoising, self)._loss(inputs, group) for group in groups_of(batch)]).sum()


def one_frame(shape: tuple[int, ...]) -> tuple[int, ...]:
    channels, _, height, width = shape
    return channels, 1, height, width


def groups_of(batch: Batch) -> list[Batch]:
    groups: dict[str, Batch] = {}
    for name, tensor in batch.items():
        number, _, own = name.partition(".")
        groups.setdefault(number, {})[own] = tensor
    return list(groups.values())
