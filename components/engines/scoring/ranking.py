"""How well scores tell good from bad, and how often the right one comes first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from components.engines.base.errors import StageError


def placements(good: Sequence[float] | np.ndarray, bad: Sequence[float] | np.ndarray) -> np.ndarray:
    """For each good score the share of bad ones below it, ties counting half: float64, shape (good,); their mean is the AUC.

    Raises StageError if there is nothing to compare.
    """
    if not len(good) or not len(bad):
        raise StageError(f"An AUC needs good and bad scores, not {len(good)} and {len(bad)}")
    ordered = np.sort(np.asarray(bad, dtype=np.float64))
    below = np.searchsorted(ordered, good, side="left")
    not_above = np.searchsorted(ordered, good, side="right")
    return (below + not_above) / 2 / len(ordered)


def roc_auc(good: Sequence[float] | np.ndarray, bad: Sequence[float] | np.ndarray) -> float:
    """How likely a good one scores above a bad one: 1 perfect, .5 chance."""
    return float(placements(good, bad).mean())


def auc_shares(good: Sequence[float] | np.ndarray, bad: Sequence[float] | np.ndarray) -> np.ndarray:
    """What each example, which has one good and one bad score, adds to the AUC: float64, shape (examples,); their mean is it.

    The sum of DeLong's two structural components, less the AUC (DeLong et al. 1988, Biometrics 44, 837). Resampled, the shares
    vary as the AUC does. Placements alone would not: one bad score that is too high lowers all of them together, and a
    bootstrap over them would take that accident for a certain difference. A share may lie outside 0 to 1.
    """
    if len(good) != len(bad):
        raise StageError(f"Every example needs a good and a bad score, there are {len(good)} and {len(bad)}")
    above = placements(good, bad)
    below = placements(-np.asarray(bad, dtype=np.float64), -np.asarray(good, dtype=np.float64))
    return above + below - above.mean()


def hits_at(scores: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Whether one of the `k` best-scored candidates of each query is relevant: bool, shape (queries,).

    `scores`, `relevant` (bool): shape (queries, candidates). Of equal scores the earlier candidate comes first.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(relevant, best, axis=1).any(axis=1))


def chance_of_hit(relevant: np.ndarray) -> float:
    """R@1 of a scorer that knows nothing."""
    return float(relevant.mean())


def ranking_figures(
    ranked: Sequence[Sequence[bool]], relevant: Sequence[int], *, k: int = 5, deep: int = 10
) -> dict[str, float]:
    """Means over queries of how rankings are filled: `ranked` says of each place whether what stands there is relevant,
    `relevant` how many there are in all (one at least).

    hit@1, hit@k, Precision@k, Recall@k, MRR, MAP (of the places given), and nDCG@deep with gains of 0 and 1; empty without
    queries.
    """
    if not ranked:
        return {}
    first = [next((rank for rank, right in enumerate(row, 1) if right), math.inf) for row in ranked]
    rows = list(zip(ranked, relevant, strict=True))
    return {
        "hit_at_1": float(np.mean([rank <= 1 for rank in first])),
        f"hit_at_{k}": float(np.mean([rank <= k for rank in first])),
        f"precision_at_{k}": float(np.mean([sum(row[:k]) / k for row in ranked])),
        f"recall_at_{k}": float(np.mean([sum(row[:k]) / count for row, count in rows])),
        "mrr": float(np.mean([1 / rank for rank in first])),
        "map": float(np.mean([_average_precision(row, count) for row, count in rows])),
        "ndcg": float(np.mean([_ndcg(row[:deep], min(count, deep)) for row, count in rows])),
    }


def _average_precision(row: Sequence[bool], count: int) -> float:
    found = [rank for rank, right in enumerate(row, 1) if right]
    return sum(number / rank for number, rank in enumerate(found, 1)) / count


def _ndcg(row: Sequence[bool], count: int) -> float:
    gain = sum(right / math.log2(rank + 1) for rank, right in enumerate(row, 1))
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, count + 1))
