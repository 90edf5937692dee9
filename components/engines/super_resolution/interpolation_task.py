"""What the interpolator is trained on: three frames in a row, the middle one to be found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.super_resolution.interpolator import Interpolator
from components.engines.super_resolution.task import SCALE
from components.engines.super_resolution.upscaler import psnr
from components.engines.training.task import Batch, Task, Turn
from components.engines.videos.buckets import resized
from components.engines.videos.dataset import Video
from components.engines.videos.kept import Kept

VALID_CLIPS = 64


class Interpolating(Task):
    """Sample i is video i of those of `train` with three frames or more, at a place of its own in every epoch.

    Frames are `px` on a side. Batches: `before`, `between`, `after` [batch, 3, px, px] in [0, 1].
    """

    def __init__(
        self, network: Interpolator, train: Sequence[Video], valid: Sequence[Video], *, px: int, seed: int
    ) -> None:
        self.network, self.px, self.seed = network, px, seed
        self.metadata = [one.metadata for one in train]
        self.frames = Kept(lambda place: train[place].frames())
        self.long = [place for place, known in enumerate(self.metadata) if known["frames"] >= 3]
        shown = [one for one in valid if one.metadata["frames"] >= 3][:VALID_CLIPS]
        self.valid = self._collate([one.frames() for one in shown], [one.metadata["frames"] // 2 - 1 for one in shown])
        self.modules = {"interpolator": network}
        self.num_samples = len(self.long)
        self.turns = [
            Turn("interpolator", self.loss, list(network.parameters()), weight=lambda batch: len(batch["between"]))
        ]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        places = [self.long[index] for index in indices.tolist()]
        rngs = [np.random.default_rng(derive(self.seed, "place", epoch, index)) for index in indices.tolist()]
        lengths = [self.metadata[place]["frames"] for place in places]
        starts = [int(rng.integers(length - 2)) for rng, length in zip(rngs, lengths, strict=True)]
        return self._collate([self.frames(place) for place in places], starts)

    def _collate(self, clips: Sequence[np.ndarray], starts: Sequence[int]) -> Batch:
        three = torch.stack([
            resized(frames[start : start + 3], self.px, self.px) for frames, start in zip(clips, starts, strict=True)
        ])  # fmt: skip
        before, between, after = (three / 2 + 0.5).unbind(2)
        return {"before": before, "between": between, "after": after}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of each frame, summed (times SCALE)."""
        made = self.network(batch["before"], batch["after"]).float()
        return SCALE * functional.mse_loss(made, batch["between"], reduction="none").mean((1, 2, 3)).sum(), {}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        device = next(self.network.parameters()).device
        made = self.network(self.valid["before"].to(device), self.valid["after"].to(device)).clamp(0, 1).cpu()
        return {"valid_psnr_db": float(psnr(made, self.valid["between"]).mean())}
