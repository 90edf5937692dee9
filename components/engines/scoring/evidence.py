"""Does the candidate's gain lie above a bound? One-sided tests whose p-values hold far out in the tail.

The gate judges many candidates on one test set, each at a smaller level than the last (`flows/alpha.py`): at 0.00001 the
percentiles of a thousand resamples say nothing. Three tests, chosen by what the scores are:

- right or wrong (0/1 scores, mean): exact. The score statistic of Tango (1998, Statistics in Medicine 17, 891) orders the
  outcomes; its p-value is summed from the trinomial distribution, at the worst value of the nuisance parameter;
- other means: Student's t with Hall's correction for skewness (1992, JRSS B 54, 221), taken only where it is against the
  candidate, and with one imagined example beside the real ones on which it loses everything there is to lose (losses too
  rare to be among the examples have no variance there);
- BLEU: the same on jackknife pseudo-values (Efron and Tibshirani 1993, ch. 11), since it is no mean of sentences.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from components.engines.scoring.bootstrap import Scores, bleu, score_of, values_of

_NUISANCE = 80  # values of the nuisance parameter that are tried
_NEGLIGIBLE = 1e-13  # probability of outcomes that are left out of an exact sum, and added to it whole
_FULL_BLEU = 100.0


@dataclass(frozen=True)
class Evidence:
    """How sure it is that the true gain is above `bound`: `p` is the chance of such scores, or better ones, were it not.

    `least_gain` is the lower confidence limit of the gain at `level`: the greatest bound that would be passed.
    """

    bound: float
    level: float
    p: float
    least_gain: float
    method: str

    @property
    def passed(self) -> bool:
        return self.p <= self.level

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def gain_above(
    candidate: Scores, champion: Scores, aggregate: str, higher_is_better: bool = True, *, bound: float, level: float
) -> Evidence:
    """Test that the true gain (difference in the metric's good direction) is above `bound`, at `level`.

    Scores as in `paired_bootstrap`. Raises UsageError for input that cannot be compared.
    """
    ours, theirs = values_of(candidate, champion, aggregate)
    if not higher_is_better:
        ours, theirs = -ours, -theirs
    if aggregate == "mean" and np.isin(ours, (-1, 0, 1)).all() and np.isin(theirs, (-1, 0, 1)).all():
        differences = (ours - theirs)[:, 0]
        if np.isin(differences, (-1, 0, 1)).all():
            wins, losses = int((differences > 0).sum()), int((differences < 0).sum())

            def p_at(margin: float) -> float:
                return exact_p(len(differences), wins, losses, margin)

            mean = float(differences.mean())
            return Evidence(bound, level, p_at(bound), _limit(p_at, level, -1.0, mean), "exact")
    gains, worst = _gains(ours, theirs, aggregate)
    if not gains.any():  # no example was told apart: how rare must losses be, each at most as large as a score can be?
        return Evidence(
            bound, level, _p_unseen(len(gains), worst, bound), -worst * (1 - level ** (1 / len(gains))), "equal"
        )

    def p_student(margin: float) -> float:
        return float(student_p(gains[None, :], worst, margin)[0])

    lowest = float(gains.min()) - worst
    return Evidence(
        bound, level, p_student(bound), _limit(p_student, level, lowest, float(gains.mean())), "studentised"
    )


def exact_p(count: int, wins: int, losses: int, bound: float) -> float:
    """P(as many wins over losses, or more) of `count` examples if P(win) − P(loss) is `bound`, at the worst P(loss)."""
    return _exact_p(count, wins, losses, round(bound, 12))


@lru_cache(maxsize=100_000)
def _exact_p(count: int, wins: int, losses: int, bound: float) -> float:
    from scipy.stats import binom

    seen = _score_statistic(count, np.array([wins]), np.array([losses]), bound)[0]
    lost = np.arange(count + 1)
    needed = _wins_needed(count, lost, bound, seen)
    low, high = max(0.0, -bound), (1 - bound) / 2
    shares = low + (high - low) * np.linspace(0, 1, _NUISANCE) ** 2  # P(loss): most trials where losses are rare
    mass = binom.pmf(lost[:, None], count, shares)
    some = mass.max(axis=1) > _NEGLIGIBLE / count
    win = np.clip((shares + bound) / np.maximum(1 - shares, 1e-300), 0, 1)
    tails = binom.sf(needed[some, None] - 1, count - lost[some, None], win[None, :])
    return float(min(1.0, (mass[some] * tails).sum(axis=0).max() + _NEGLIGIBLE))


def _wins_needed(count: int, lost: np.ndarray, bound: float, seen: float) -> np.ndarray:
    """For each number of losses the fewest wins whose statistic reaches `seen`; more than there is room for if none does."""
    low, high = np.full(len(lost), -1), count - lost + 1  # statistic below at `low`, reached (or out of room) at `high`
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = _score_statistic(count, middle, lost, bound) >= seen - 1e-12
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high


def _score_statistic(count: int, wins: np.ndarray, losses: np.ndarray, bound: float) -> np.ndarray:
    """(observed − expected) / deviation of wins − losses, with the deviation at the likeliest P(loss) under the bound."""
    linear = wins + losses - bound * (2 * count - wins + losses)
    root = np.sqrt(np.maximum(linear**2 + 8 * count * losses * bound * (1 - bound), 0))
    loss = np.clip((linear + root) / (4 * count), max(0.0, -bound), (1 - bound) / 2)
    variance = np.maximum(count * (2 * loss + bound - bound**2), 1e-12)
    return (wins - losses - count * bound) / np.sqrt(variance)


def student_p(gains: np.ndarray, worst: float, bound: float) -> np.ndarray:
    """(tests, examples) -> (tests,): P(such a mean gain, or a larger one) if the true mean is `bound`.

    `worst` is the greatest loss that one example can be.
    """
    from scipy.stats import t

    gains = np.concatenate([gains, np.full((len(gains), 1), -worst)], axis=1)
    count = gains.shape[1]
    mean, deviation = gains.mean(axis=1), gains.std(axis=1, ddof=1)
    deviation = np.maximum(deviation, 1e-300)
    centred = (gains - mean[:, None]) / deviation[:, None]
    skewness = np.minimum((centred**3).mean(axis=1), 0.0)
    statistic = math.sqrt(count) * (mean - bound) / deviation
    tilt = skewness / (3 * math.sqrt(count))
    return t.sf(statistic + tilt * statistic**2 + tilt**2 * statistic**3 / 3 + tilt / 2, count - 1)


def _gains(ours: np.ndarray, theirs: np.ndarray, aggregate: str) -> tuple[np.ndarray, float]:
    """What each example adds to the gain: (examples,), their mean is it; and the greatest loss an example can be."""
    if aggregate == "mean":
        return (ours - theirs)[:, 0], float(max(np.abs(ours).max(), np.abs(theirs).max()))
    return pseudo_values(ours) - pseudo_values(theirs), _FULL_BLEU


def pseudo_values(statistics: np.ndarray) -> np.ndarray:
    """Jackknife pseudo-values of corpus BLEU: (examples, 10) -> (examples,)."""
    count, total = len(statistics), statistics.sum(axis=0)
    if count == 1:
        return np.atleast_1d(bleu(total))
    return count * score_of(total, count, "bleu") - (count - 1) * bleu(total - statistics)


def _p_unseen(count: int, worst: float, bound: float) -> float:
    return 1.0 if bound >= 0 or worst == 0 else max(0.0, 1 + bound / worst) ** count


def _limit(p_at: Any, level: float, low: float, high: float) -> float:
    """The greatest bound between `low` and `high` that passes at `level`, to a thousandth of the range; p rises with it."""
    lowest, span = low, high - low
    while high - low > 1e-3 * span:
        middle = (low + high) / 2
        low, high = (middle, high) if p_at(middle) <= level else (low, middle)
    return low if low > lowest else lowest
