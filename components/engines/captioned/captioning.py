"""The training task: cross-entropy of every token of a caption given the image and the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from components.engines.captioned.dataset import Captioned
from components.engines.generation.captioner import Batch, ImageCaptioner
from components.engines.language.tokens import (
    VALID_BATCH,
    label_nlls,
    next_tokens,
    num_labels,
    token_loss,
    token_scores,
)
from components.engines.nn.grid_captioner import GridCaptioner
from components.engines.training.parallel.blocks import repeated_blocks
from components.engines.training.task import Task, Turn


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
        labels = next_tokens(tokens["input_ids"], tokens["attention_mask"])
        return {"pixel_values": self.captioner.pixels([pair.open() for pair in pairs]), **tokens, "labels": labels}

    def count_tokens(self, batch: Batch) -> int:
        """Of the captions."""
        return num_labels(batch)

    def logits(self, batch: Batch) -> Tensor:
        """[batch, tokens, vocabulary]"""
        return self.model(
            pixel_values=batch["pixel_values"], input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed cross-entropy over the captions' tokens, and how many of them were right."""
        return token_loss(self.logits(batch), batch["labels"])

    def score(self) -> dict[str, float]:
        """Loss, perplexity and token accuracy over the whole validation split."""
        return token_scores(self.loss, self._batches(self.valid), next(self.model.parameters()).device)

    def nlls(self, pairs: Sequence[Captioned]) -> list[list[float]]:
        """Negative log-likelihood (nats) of every token of each caption, given its image."""
        return label_nlls(self.logits, self._batches(pairs), next(self.model.parameters()).device)

    def _batches(self, pairs: Sequence[Captioned]) -> Iterator[Batch]:
        for start in range(0, len(pairs), VALID_BATCH):
            yield self._collate(pairs[start : start + VALID_BATCH])
