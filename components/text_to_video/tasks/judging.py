"""The judge's task: say what moving scenes show, painted for it alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.super_resolution.degradation import degraded
from components.engines.training.task import Batch, Task, Turn
from components.engines.videos.buckets import Bucket, fitted
from components.text_to_video.networks.motion_network import MotionNetwork, values_of
from components.text_to_video.world.motion import draw, paint
from components.text_to_video.world.records import FRAMES, PX, times

SCENES_PER_EPOCH, VALID_SCENES = 6400, 256
_MAX_BLUR_PX, _MAX_NOISE = 0.8, 0.05  # so that a generated clip's softness is no clue


class Judging(Task):
    """Sample i of an epoch is a scene drawn from all combinations, held-out ones included, painted for this epoch alone.

    Batches: `clips` [batch, 3, frames, px, px] in [0, 1], `values` [batch, attributes] (numbers into `ATTRIBUTES`).
    """

    def __init__(self, network: MotionNetwork, bucket: Bucket, seed: int) -> None:
        self.network, self.bucket, self.seed = network, bucket, seed
        self.valid = self._painted(range(VALID_SCENES), "valid")
        self.modules = {"judge": network}
        self.num_samples = SCENES_PER_EPOCH
        self.turns = [Turn("judge", self.loss, list(network.parameters()), weight=lambda batch: len(batch["clips"]))]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._painted(indices.tolist(), f"epoch {epoch}")

    def _painted(self, indices: range | list[int], purpose: str) -> Batch:
        rngs = [np.random.default_rng(derive(self.seed, "judge", purpose, index)) for index in indices]
        scenes = [draw(rng, held_out=None) for rng in rngs]
        seconds = times(max(FRAMES, self.bucket.span))
        clips = [fitted(paint(scene, PX, seconds, rng), self.bucket) for scene, rng in zip(scenes, rngs, strict=True)]
        together = (torch.stack(clips) / 2 + 0.5).flatten(1, 2)  # frames as channels: all of a clip are blurred alike
        worse = degraded(together, rngs, max_blur_px=_MAX_BLUR_PX, max_noise=_MAX_NOISE)
        return {"clips": worse.unflatten(1, (3, self.bucket.frames)), "values": values_of(scenes)}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of all attributes, summed; `all_right` counts clips of which every attribute is right."""
        logits = self.network(batch["clips"])
        total = torch.stack([
            functional.cross_entropy(answer.float(), batch["values"][:, column], reduction="sum")
            for column, answer in enumerate(logits.values())
        ]).sum()  # fmt: skip
        return total, {"all_right": _right(logits, batch["values"]).sum()}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        device = next(self.network.parameters()).device
        pieces = zip(self.valid["clips"].split(64), self.valid["values"].split(64), strict=True)
        found = [_right(self.network(clips.to(device)), values.to(device)) for clips, values in pieces]
        return {"valid_all_right": float(torch.cat(found).double().mean())}


def _right(logits: dict[str, Tensor], values: Tensor) -> Tensor:
    """Which clips are recognised in every attribute: bool [batch]."""
    return (torch.stack([answer.argmax(-1) for answer in logits.values()], dim=1) == values).all(1)
