"""What the upscaler is trained on: stored pictures, and the same made small as the room makes them small."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.captioned.dataset import CaptionedImages
from components.engines.images.pixels import to_pictures, to_unit
from components.engines.super_resolution.degradation import degraded
from components.engines.super_resolution.upscaler import Upscaler, psnr
from components.engines.training.task import Batch, Task, Turn

VALID_IMAGES, VALID_BATCH = 128, 32
LOOKS = 4  # pictures are mostly ground, and edges are what is to be learnt (1.0 dB in place of 0.6 in the same time)
SCALE = 100  # brings gradients near 1, where they are clipped


class Upscaling(Task):
    """Sample i is picture i of `train`, of which a piece `crop_px` on a side (of the small picture) is looked at.

    Half of the pieces are blurred a little, up to `max_blur_px`, because generated pictures are softer than real ones made small.
    Batches: `small` [batch, 3, crop, crop], `large` [batch, 3, factor · crop, factor · crop], in [0, 1].
    """

    def __init__(
        self,
        upscaler: Upscaler,
        train: CaptionedImages,
        valid: CaptionedImages,
        *,
        image_px: int,
        crop_px: int,
        max_blur_px: float,
        seed: int,
    ) -> None:
        self.upscaler, self.train, self.image_px = upscaler, train, image_px
        self.crop_px, self.max_blur_px, self.seed = crop_px, max_blur_px, seed
        self.valid = [pair_of([one.open() for one in valid[i : i + VALID_BATCH]], image_px, upscaler.factor)
                      for i in range(0, min(VALID_IMAGES, len(valid)), VALID_BATCH)]  # fmt: skip
        self.modules = {"upscaler": upscaler.network}
        self.num_samples = len(train)
        parameters = list(upscaler.network.parameters())
        self.turns = [Turn("upscaler", self.loss, parameters, weight=lambda batch: len(batch["large"]))]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        small, large = pair_of([self.train[i].open() for i in indices.tolist()], self.image_px, self.upscaler.factor)
        rngs = [np.random.default_rng(derive(self.seed, "piece", epoch, index)) for index in indices.tolist()]
        softer = degraded(small, rngs, max_blur_px=self.max_blur_px)
        pieces = [self._piece(*row) for row in zip(softer, large, rngs, strict=True)]
        return {"small": torch.stack([one for one, _ in pieces]), "large": torch.stack([one for _, one in pieces])}

    def _piece(self, small: Tensor, large: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The same place of both, mirrored half the time: of LOOKS random places the one with most to see."""
        crop, factor = self.crop_px, self.upscaler.factor
        places = rng.integers(self.image_px - crop + 1, size=(LOOKS, 2)).tolist()
        top, left = max(places, key=lambda at: float(_at(small, at[0], at[1], crop).var((1, 2)).sum()))
        pieces = _at(small, top, left, crop), _at(large, factor * top, factor * left, factor * crop)
        return (pieces[0].flip(-1), pieces[1].flip(-1)) if rng.integers(2) else pieces

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of each picture, summed (times SCALE): what PSNR counts.

        The absolute error, which most upscalers learn by, is the worse where pictures have grain: its gradient is as large for
        every grain that nobody can foresee as for an edge (tried: no gain over bicubic in the same time).
        """
        made = self.upscaler.enlarged(batch["small"]).float()
        return SCALE * functional.mse_loss(made, batch["large"], reduction="none").mean((1, 2, 3)).sum(), {}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        made = [psnr(self.upscaler.upscale(small), large) for small, large in self.valid]
        return {"valid_psnr_db": float(torch.cat(made).mean())}


def _at(picture: Tensor, top: int, left: int, side: int) -> Tensor:
    return picture[:, top : top + side, left : left + side]


def pair_of(pictures: list, image_px: int, factor: int) -> tuple[Tensor, Tensor]:
    """Pictures at the generated size and at `factor` times that: [n, 3, px, px], [n, 3, factor · px, factor · px]."""
    large = to_unit(pictures, factor * image_px)
    return to_unit(to_pictures(large), image_px), large
