"""The pretraining task: write a sentence whole from one with random tokens masked (BART, arXiv 1910.13461)."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.language.pairs import Pairs, encode
from components.engines.language.seq2seq import Seq2Seq


class Denoising(Seq2Seq):
    """Samples 2i and 2i + 1 are the source and the target sentence of pair i, each on its own."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        train: Pairs,
        valid: Pairs,
        *,
        mask_fraction: float,
        max_tokens: int,
        seed: int,
    ) -> None:
        super().__init__(model, tokenizer)
        self.train, self.valid = train, valid
        self.mask_fraction, self.max_tokens, self.seed = mask_fraction, max_tokens, seed
        self.num_samples, self.num_valid = 2 * len(train), 2 * len(valid)

    def encode_samples(self, indices: np.ndarray, epoch: int) -> tuple[list[list[int]], list[list[int]]]:
        return self._masked(self.train, indices, f"epoch {epoch}")

    def encode_valid(self, indices: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
        return self._masked(self.valid, indices, "valid")

    def _masked(self, pairs: Pairs, indices: np.ndarray, purpose: str) -> tuple[list[list[int]], list[list[int]]]:
        chosen = [(pairs[index // 2], index % 2) for index in indices.tolist()]
        whole = encode(self.tokenizer, [p.target if second else p.source for p, second in chosen], self.max_tokens)
        mask_id = self.tokenizer.mask_token_id
        masked = [
            mask(ids, mask_id, self.mask_fraction, derive(self.seed, "mask", purpose, index))
            for ids, index in zip(whole, indices.tolist(), strict=True)
        ]
        return masked, whole


def mask(ids: list[int], mask_id: int, fraction: float, seed: int) -> list[int]:
    """Replace a random `fraction` of the tokens by the mask token, at least one; the last token (eos) is left."""
    rng = np.random.default_rng(seed)
    inner = len(ids) - 1
    chosen = rng.random(inner) < fraction
    if inner and not chosen.any():
        chosen[rng.integers(inner)] = True
    return [mask_id if hit else token for token, hit in zip(ids, [*chosen.tolist(), False], strict=True)]
