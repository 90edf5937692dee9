"""How well scores tell good from bad, and how often the right one comes first."""

from __future__ import annotations

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
