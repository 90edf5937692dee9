"""The supervised task: target sentence given source sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.translation.pairs import Pairs, encode, encode_targets
from components.translation.seq2seq import Seq2Seq


class Translating(Seq2Seq):
    """Sample i is pair i of `train`; `valid` is what `score()` measures on."""

    def __init__(
        self, model: Any, tokenizer: Any, train: Pairs, valid: Pairs, *, max_tokens: int, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(model, tokenizer, label_smoothing=label_smoothing)
        self.train, self.valid, self.max_tokens = train, valid, max_tokens
        self.num_samples, self.num_valid = len(train), len(valid)

    def encode_samples(self, indices: np.ndarray, epoch: int) -> tuple[list[list[int]], list[list[int]]]:
        return self._encode(self.train, indices)

    def encode_valid(self, indices: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
        return self._encode(self.valid, indices)

    def _encode(self, pairs: Pairs, indices: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
        chosen = [pairs[index] for index in indices.tolist()]
        sources = encode(self.tokenizer, [pair.source for pair in chosen], self.max_tokens)
        targets = encode_targets(self.tokenizer, [pair.target for pair in chosen], self.max_tokens)
        return sources, targets
