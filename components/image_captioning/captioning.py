"""The training task: cross-entropy of every token of a caption given the image and the tokens before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.captioned.dataset import Captioned
from components.engines.generation.captioner import Batch, ImageCaptioner
from components.engines.nn.grid_captioner import GridCaptioner
from components.engines.training.blocks import repeated_blocks
from components.engines.training.task import Task, Turn

IGNORED = -100  # label of padding: torch's cross-entropy skips it
VALID_BATCH = 128


class Captioning(Task):
    """Sample i is captioned image i of `train`; `valid` is what `score()` measures on.

    Batches: `pixel_values` [batch, 3, px, px], `input_ids`, `attention_mask` [batch, tokens], `labels` [batch, tokens] (the token
    after each one; padding -100).
    """

    def __init__(
        self, captioner: ImageCaptioner, train: Sequence[Captioned], valid: Sequence[Captioned], *, max_tokens: int
    ) -> None:
        self.captioner, self.train, self.valid, self.max_tokens = captioner, train, valid, max_tokens
        self.model = captioner.network
        self.modules = {"model": self.model}
        self.num_samples = len(train)
        if isinstance(self.model, GridCaptioner):  # a CNN's running statistics forbid a second pass of its blocks
            self.blocks = list(repeated_blocks(self.model.text_decoder))
        self.turns = [Turn("model", self.loss, [p for p in self.model.parameters() if p.requires_grad], num_labels)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate([self.train[index] for index in indices.tolist()])

    def _collate(self, pairs: Sequence[Captioned]) -> Batch:
        tokens = self.captioner.tokens([pair.caption for pair in pairs], self.max_tokens)
        labels = functional.pad(tokens["input_ids"][:, 1:], (0, 1), value=IGNORED)
        followed = functional.pad(tokens["attention_mask"][:, 1:], (0, 1))
        labels = labels.masked_fill(followed == 0, IGNORED)
        return {"pixel_values": self.captioner.pixels([pair.open() for pair in pairs]), **tokens, "labels": labels}

    def count_tokens(self, batch: Batch) -> int:
        """Of the captions."""
        return num_labels(batch)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed cross-entropy over the captions' tokens, and how many of them were right."""
        labels = batch["labels"]
        logits = self.model(  # [batch, tokens, vocabulary]
            pixel_values=batch["pixel_values"], input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        total = functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return total, {"accuracy": (logits.detach().argmax(-1) == labels).sum()}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Loss, perplexity and token accuracy over the whole validation split."""
        total = right = tokens = 0.0
        device = next(self.model.parameters()).device
        for start in range(0, len(self.valid), VALID_BATCH):
            batch = self._collate(self.valid[start : start + VALID_BATCH])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            loss, sums = self.loss(batch)
            total, right, tokens = total + loss.item(), right + sums["accuracy"].item(), tokens + num_labels(batch)
        loss_per_token = total / tokens
        return {
            "valid_loss": loss_per_token,
            "valid_perplexity": math.exp(min(loss_per_token, 50.0)),
            "valid_accuracy": right / tokens,
        }


def num_labels(batch: Batch) -> int:
    """Tokens of a batch to be foretold: the weight its loss has in the step."""
    return int((batch["labels"] != IGNORED).sum())
