"""The contrastive task: of all captions of a batch, each image's own is to lie nearest, and the other way round."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.scoring.embedder import Batch, Embedder
from components.engines.training.task import Task, Turn

MAX_LOG_SCALE = math.log(100)  # of the learnt inverse temperature (Radford et al. 2021, § 2.5)
VALID_BATCH = 64


class Contrastive(Task):
    """Sample i is captioned image i of `train`; `valid` is what `score()` measures on.

    Batches: `pixel_values` [batch, 3, px, px], `input_ids`, `attention_mask` [batch, tokens].
    """

    def __init__(self, embedder: Embedder, train: CaptionedImages, valid: CaptionedImages) -> None:
        self.embedder, self.train, self.valid = embedder, train, valid
        self.model = embedder.network
        self.modules = {"model": self.model}
        self.num_samples = len(train)
        self.turns = [Turn("model", self.loss, list(self.model.parameters()), weight=num_pairs)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate([self.train[index] for index in indices.tolist()])

    def _collate(self, pairs: list[Captioned]) -> Batch:
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


def num_pairs(batch: Batch) -> int:
    return len(batch["input_ids"])


def gathered(images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, int]:
    """The vectors of the global batch, and where this rank's begin in it; gradients flow back to the ranks they came from."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return images, texts, 0
    everywhere = [_Gather.apply(vectors) for vectors in (images, texts)]
    return everywhere[0], everywhere[1], dist.get_rank() * len(images)


class _Gather(torch.autograd.Function):
    """All-gather along dimension 0; backward adds up what all ranks say of this rank's rows."""

    @staticmethod
    def forward(ctx, vectors: Tensor) -> Tensor:
        pieces = [torch.empty_like(vectors) for _ in range(dist.get_world_size())]
        dist.all_gather(pieces, vectors.contiguous())
        ctx.rows = len(vectors)
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.rows
        return total[first : first + ctx.rows]
