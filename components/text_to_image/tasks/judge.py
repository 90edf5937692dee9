"""What the judge is trained on: freshly painted scenes, and one question per attribute."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.images.pixels import to_unit
from components.engines.super_resolution.degradation import degraded
from components.engines.training.task import Batch, Task, Turn
from components.engines.worlds.scenes import ATTRIBUTES, paint, scenes
from components.text_to_image.networks.judge import JudgeNetwork, values_of

PAINTED_PX = 64  # as the room's pictures are stored
SCENES_PER_EPOCH = 6400  # every epoch paints new ones
_MAX_BLUR_PX, _MAX_NOISE = 0.8, 0.05  # so that a generated picture's softness is no clue


class Judging(Task):
    """Sample i of an epoch is a scene drawn from all combinations, held-out ones included, painted for this epoch alone.

    `images`, `described` are what `score()` measures on: [n, 3, px, px] and what is in them. Batches: `images`
    [batch, 3, px, px], `values` [batch, attributes] (numbers into `ATTRIBUTES`).
    """

    def __init__(self, network: JudgeNetwork, image_px: int, seed: int, images: Tensor, described: Tensor) -> None:
        self.network, self.image_px, self.seed = network, image_px, seed
        self.valid = (images, described)
        self.pool = (*scenes(held_out=False), *scenes(held_out=True))
        self.modules = {"judge": network}
        self.num_samples = SCENES_PER_EPOCH
        self.turns = [Turn("judge", self.loss, list(network.parameters()), weight=lambda batch: len(batch["images"]))]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        rngs = [np.random.default_rng(derive(self.seed, "judge", epoch, index)) for index in indices.tolist()]
        chosen = [self.pool[rng.integers(len(self.pool))] for rng in rngs]
        painted = [paint(scene, PAINTED_PX, rng) for scene, rng in zip(chosen, rngs, strict=True)]
        images = to_unit([Image.fromarray(pixels) for pixels in painted], self.image_px)
        worse = degraded(images, rngs, max_blur_px=_MAX_BLUR_PX, max_noise=_MAX_NOISE)
        return {"images": worse, "values": values_of(chosen)}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of all attributes, summed; `all_right` counts pictures of which every attribute is right."""
        logits = self.network(batch["images"])
        total = torch.stack([
            functional.cross_entropy(answer.float(), batch["values"][:, column], reduction="sum")
            for column, answer in enumerate(logits.values())
        ]).sum()  # fmt: skip
        return total, {"all_right": right(logits, batch["values"]).all(1).sum()}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Of pictures of the data, not painted for the judge: how often all attributes, and each of them, are right."""
        images, values = self.valid
        device = next(self.network.parameters()).device
        answers = [right(self.network(piece.to(device)), truth.to(device)) for piece, truth in pieces(images, values)]
        per_attribute = torch.cat(answers).double().cpu()
        each = {f"valid_{name}": share for name, share in zip(ATTRIBUTES, per_attribute.mean(0).tolist(), strict=True)}
        return {"valid_all_right": float(per_attribute.all(1).double().mean()), **each}


def pieces(images: Tensor, values: Tensor, size: int = 256) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.split(size), values.split(size), strict=True))


def right(logits: dict[str, Tensor], values: Tensor) -> Tensor:
    """Which attributes are recognised: bool [batch, attributes]."""
    return torch.stack([answer.argmax(-1) for answer in logits.values()], dim=1) == values
