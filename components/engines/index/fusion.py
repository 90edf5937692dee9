"""Rankings of several searches as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

_K = 60  # as in the paper


def fused(rankings: Sequence[Sequence[int]], weights: Sequence[float] | None = None) -> list[tuple[int, float]]:
    """Reciprocal rank fusion (Cormack et al. 2009): places with their sums of weight / (60 + rank), the best first."""
    scores: dict[int, float] = defaultdict(float)
    for number, ranking in enumerate(rankings):
        for rank, place in enumerate(ranking, 1):
            scores[place] += (weights[number] if weights else 1.0) / (_K + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
