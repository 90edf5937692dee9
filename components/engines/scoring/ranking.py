"""How well scores tell good from bad, and how often the right one comes first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.engines.base.errors import StageError


def placements(good: Sequence[float] | np.ndarray, bad: Sequence[float] | np.ndarray) -> np.ndarray:
    """For each good score the share of bad ones below it, ties counting half: float64, shape (good,).

    Their mean is the area under the ROC curve (DeLong et al. 1988), so that an AUC has a figure per example. Raises
    StageError if there is nothing to compare.
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


def hits_at(scores: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Whether one of the `k` best-scored candidates of each query is relevant: bool, shape (queries,).

    `scores`, `relevant` (bool): shape (queries, candidates). Of equal scores the earlier candidate comes first.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(relevant, best, axis=1).any(axis=1))


def chance_of_hit(relevant: np.ndarray) -> float:
    """R@1 of a scorer that knows nothing."""
    return float(relevant.mean())
