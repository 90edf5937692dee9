"""The supervised task on pairs: the target text given the source text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.engines.language.pairs import Pair, encode, encode_targets
from components.engines.language.seq2seq import Seq2Seq
from components.engines.language.tokens import VALID_BATCH, label_nlls


class Translating(Seq2Seq):
    """Sample i is pair i of `train`; `valid` is what `score()` measures on."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        train: Sequence[Pair],
        valid: Sequence[Pair],
        *,
        max_tokens: int,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(model, tokenizer, label_smoothing=label_smoothing)
        self.train, self.valid, self.max_tokens = train, valid, max_tokens
        self.num_samples, self.num_valid = len(train), len(valid)

    def encode_samples(self, indices: np.ndarray, epoch: int) -> tuple[list[list[int]], list[list[int]]]:
        return self._encode(self.train, indices)

    def encode_valid(self, indices: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
        return self._encode(self.valid, indices)

    def nlls(self, pairs: Sequence[Pair]) -> list[list[float]]:
        """Negative log-likelihood (nats) of every token of each target, given its source."""
        starts = range(0, len(pairs), VALID_BATCH)
        batches = (self._collate(*self._of(pairs[start : start + VALID_BATCH])) for start in starts)
        return label_nlls(self.logits, batches, next(self.model.parameters()).device)

    def _encode(self, pairs: Sequence[Pair], indices: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
        return self._of([pairs[index] for index in indices.tolist()])

    def _of(self, chosen: Sequence[Pair]) -> tuple[list[list[int]], list[list[int]]]:
        sources = encode(self.tokenizer, [pair.source for pair in chosen], self.max_tokens)
        targets = encode_targets(self.tokenizer, [pair.target for pair in chosen], self.max_tokens)
        return sources, targets
