"""How likely texts are without a model: what the perplexity of one is compared with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence


def unigram_nlls(train: Iterable[Sequence[int]], texts: Sequence[Sequence[int]], vocab_size: int) -> list[list[float]]:
    """Negative log-likelihood (nats) of every token by its frequency in `train` alone: what a model must beat.

    Every token of the vocabulary is counted once more than it is met (Laplace), so that none is impossible.
    """
    met = Counter(token for tokens in train for token in tokens)
    total = sum(met.values()) + vocab_size
    return [[math.log(total / (met[token] + 1)) for token in tokens] for tokens in texts]
