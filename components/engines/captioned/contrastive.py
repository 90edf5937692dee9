"""The contrastive task: of all captions of a batch, each image's own is to lie nearest, and the other way round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn import functional

from components.engines.captioned.dataset import Captioned
from components.engines.nn.positions import fixed_table
from components.engines.scoring.embedder import Batch, Embedder
from components.engines.training.task import Task, Turn

MAX_LOG_SCALE = math.log(100)  # of the learnt inverse temperature (Radford et al. 2021, § 2.5)
VALID_BATCH = 64
_POSITION_SCALE = 0.3  # about the scale of the patches' content at the start


class Contrastive(Task):
    """Sample i is captioned image i of `train`; `valid` is what `score()` measures on.

    Batches: `pixel_values` [batch, 3, px, px], `input_ids`, `attention_mask` [batch, tokens].
    """

    def __init__(self, embedder: Embedder, train: Sequence[Captioned], valid: Sequence[Captioned]) -> None:
        self.embedder, self.train, self.valid = embedder, train, valid
        self.model = embedder.network
        self.modules = {"model": self.model}
        self.num_samples = len(train)
        self.turns = [Turn("model", self.loss, list(self.model.parameters()), weight=num_pairs)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate([self.train[index] for index in indices.tolist()])

    def _collate(self, pairs: Sequence[Captioned]) -> Batch:
        pixels = self.embedder.pixels([pair.open() for pair in pairs])
        return {"pixel_values": pixels, **self.embedder.tokens([pair.caption for pair in pairs])}

    def count_tokens(self, batch: Batch) -> int:
        return int(batch["attention_mask"].sum())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Symmetric InfoNCE summed over this rank's pairs (arXiv:1807.03748), against the pairs of all ranks.

        `accuracy` counts images whose own caption is the nearest.
        """
        images, texts = self.embedder.image_vectors(batch["pixel_values"]), self.embedder.text_vectors(batch)
        all_images, all_texts, first = gathered(images, texts)
        own = first + torch.arange(len(images), device=images.device)
        scale = self.model.logit_scale.clamp(max=MAX_LOG_SCALE).exp().float()
        to_texts = scale * images.float() @ all_texts.float().T  # [pairs here, pairs in the global batch]
        to_images = scale * texts.float() @ all_images.float().T
        total = functional.cross_entropy(to_texts, own, reduction="sum")
        total = (total + functional.cross_entropy(to_images, own, reduction="sum")) / 2
        return total, {"accuracy": (to_texts.detach().argmax(-1) == own).sum()}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Loss and accuracy over the validation split, in batches of a fixed size: both depend on how many captions compete."""
        total = right = count = 0.0
        device = self.embedder.device
        for start in range(0, len(self.valid), VALID_BATCH):
            pairs = self.valid[start : start + VALID_BATCH]
            batch = {name: tensor.to(device) for name, tensor in self._collate(pairs).items()}
            images, texts = self.embedder.image_vectors(batch["pixel_values"]), self.embedder.text_vectors(batch)
            logits = (self.model.logit_scale.clamp(max=MAX_LOG_SCALE).exp() * images @ texts.T).float()
            own = torch.arange(len(pairs), device=device)
            losses = [functional.cross_entropy(side, own, reduction="sum").item() for side in (logits, logits.T)]
            total, right, count = (
                total + sum(losses) / 2,
                right + (logits.argmax(-1) == own).sum().item(),
                count + len(own),
            )
        return {"valid_loss": total / count, "valid_accuracy": right / count}


def drawn(config: Any) -> Any:
    """A CLIPModel of this config (Radford et al. 2021), randomly initialised.

    The learnt positions of the patches start as sines and cosines of row and column (as MAE has them, arXiv:2111.06377). The
    class's own start, noise of .02, is a fifteenth of what the patches' content weighs: some seeds then learn no position at all
    within a short training (AUC of captions wrong in position alone .57 instead of 1.00).
    """
    from transformers import CLIPModel

    network, shape = CLIPModel(config), config.vision_config
    side = shape.image_size // shape.patch_size
    table = fixed_table(side, side, shape.hidden_size, per_axis=True)
    with torch.no_grad():
        positions = network.vision_model.embeddings.position_embedding.weight
        positions[1:] = _POSITION_SCALE * table  # row 0 is the class token's
    return network


def num_pairs(batch: Batch) -> int:
    return len(batch["input_ids"])


def gathered(images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, int]:
    """The vectors of the global batch, and where this rank's begin in it; gradients flow back to the ranks they came from."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return images, texts, 0
    everywhere = [torch.cat(all_gather(vectors)) for vectors in (images, texts)]
    return everywhere[0], everywhere[1], dist.get_rank() * len(images)
