"""Rankings of several searches as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

_K = 60  # as in the paper
UNTUNED = {"words": 1.0, "vectors": 1.0, "graph": 0.0}  # names join what people write less well than what firms print
_TRIED = {"words": (1.0, 0.0), "vectors": (1.0, 0.5, 0.0), "graph": (0.0, 0.5, 1.0, 2.0, 4.0)}
_LEAST_QUESTIONS = 20


def fused(rankings: Sequence[Sequence[int]], weights: Sequence[float] | None = None) -> list[tuple[int, float]]:
    """Reciprocal rank fusion (Cormack et al. 2009): places with their sums of weight / (60 + rank), the best first."""
    scores: dict[int, float] = defaultdict(float)
    for number, ranking in enumerate(rankings):
        for rank, place in enumerate(ranking, 1):
            scores[place] += (weights[number] if weights else 1.0) / (_K + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def tuned(rankings: Mapping[str, Sequence[Sequence[int]]], relevant: Sequence[set[int]]) -> dict[str, float]:
    """The weights of searches under which what is relevant comes first: the highest mean reciprocal rank over questions.

    `rankings` has by search the places that it finds for each question, `relevant` those that answer it. Of equals the first
    tried, beginning with `UNTUNED`, which is also what too few questions get.
    """
    best, highest = UNTUNED, -1.0
    if len(relevant) < _LEAST_QUESTIONS:
        return best
    for chosen in product(*_TRIED.values()):
        if any(chosen):
            weights = dict(zip(_TRIED, chosen, strict=True))
            rank = _mean_reciprocal_rank(rankings, relevant, weights)
            if rank > highest + 1e-9:
                best, highest = weights, rank
    return best


def _mean_reciprocal_rank(
    rankings: Mapping[str, Sequence[Sequence[int]]], relevant: Sequence[set[int]], weights: Mapping[str, float]
) -> float:
    used = [name for name, weight in weights.items() if weight]
    total = 0.0
    for number, gold in enumerate(relevant):
        found = fused([rankings[name][number] for name in used], [weights[name] for name in used])
        total += next((1 / rank for rank, (place, _) in enumerate(found, 1) if place in gold), 0.0)
    return total / len(relevant)
