"""Is the candidate better than the champion, or is it the luck of the test set? The paired bootstrap answers.

Both systems are scored on the same examples. The test set is resampled with replacement many times; each time both
corpus scores are computed on the same draw. The spread of their difference is the uncertainty of the comparison.
Koehn, "Statistical Significance Tests for Machine Translation Evaluation" (EMNLP 2004, https://aclanthology.org/W04-3250).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.engines.base.errors import UsageError

BLEU_ORDER = 4
_CELLS = 4_000_000  # resamples are drawn in blocks of so many (example, resample) cells: about 100 MB at most
_TAIL_DRAWS = 10  # resamples that must lie beyond an interval's end for that end to mean something

Scores = Sequence[Any] | np.ndarray


@dataclass(frozen=True)
class Interval:
    """A difference (candidate − champion) with its percentile interval at `confidence`.

    `p_better` is the share of resamples in which the candidate was the better one (ties count half). `better` and `worse`
    say that the whole interval lies on one side of zero, with the metric's direction taken into account.
    """

    candidate: float
    champion: float
    difference: float
    low: float
    high: float
    p_better: float
    confidence: float
    higher_is_better: bool
    examples: int

    @property
    def gain(self) -> float:
        """The difference, positive when the candidate is the better one."""
        return self.difference if self.higher_is_better else -self.difference

    @property
    def least_gain(self) -> float:
        return self.low if self.higher_is_better else -self.high

    @property
    def most_gain(self) -> float:
        """The gain at the interval's favourable end: below zero, the candidate is significantly worse."""
        return self.high if self.higher_is_better else -self.low

    @property
    def better(self) -> bool:
        return self.least_gain > 0

    @property
    def worse(self) -> bool:
        return self.most_gain < 0

    def as_dict(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return shown | {name: getattr(self, name) for name in ("gain", "most_gain", "better", "worse")}


def bleu(sums: np.ndarray) -> np.ndarray:
    """Corpus BLEU, 0 to 100, from summed statistics: (..., 10) -> (...,).

    Columns: system length, reference length, matches of 1- to 4-grams, totals of 1- to 4-grams. Equal to sacrebleu's
    `BLEU.compute_bleu(smooth_method="exp")`: the k-th order without a match gets precision 1 / (2^k · total).
    """
    sums = np.asarray(sums, dtype=np.float64)
    system, reference = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER : 2 + 2 * BLEU_ORDER]
    unmatched = np.cumsum(correct == 0, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(correct > 0, 100.0 * correct / total, 100.0 / (2.0**unmatched * total))
        brevity = np.where(system < reference, np.exp(1.0 - reference / system), 1.0)
        score = brevity * np.exp(np.log(precision).mean(axis=-1))
    # no n-gram of some order in the whole corpus, no match at all, nothing said: BLEU is 0
    return np.where((total == 0).any(axis=-1) | ~correct.any(axis=-1) | (system <= 0), 0.0, score)


def paired_bootstrap(
    candidate: Scores,
    champion: Scores,
    aggregate: str,
    higher_is_better: bool = True,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Compare two systems on the same examples, in the same order.

    Per example: a float (`aggregate="mean"`), or the ten sufficient statistics of BLEU (`aggregate="bleu"`). At a high
    confidence more resamples are drawn than asked for, as many as its tails need. Raises UsageError on unequal or empty
    input, an unknown aggregate, or values that are no finite numbers.
    """
    ours, theirs = values_of(candidate, champion, aggregate)
    if not 0.5 <= confidence < 1:
        raise UsageError(f"confidence must be at least 0.5 and below 1, not {confidence}")
    alpha = 1.0 - confidence
    resamples = max(resamples, math.ceil(_TAIL_DRAWS / (alpha / 2)))
    differences = _resampled_differences(ours, theirs, aggregate, resamples, seed)
    low, high = np.quantile(differences, [alpha / 2, 1 - alpha / 2])
    score, other = (float(score_of(values.sum(axis=0), len(values), aggregate)) for values in (ours, theirs))
    signed = differences if higher_is_better else -differences
    p_better = float((signed > 0).mean() + 0.5 * (signed == 0).mean())
    return Interval(
        score, other, score - other, float(low), float(high), p_better, confidence, higher_is_better, len(ours)
    )


def slice_intervals(
    candidate: Scores,
    champion: Scores,
    members: Mapping[str, Sequence[int]],
    aggregate: str,
    higher_is_better: bool = True,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """One interval per slice (name -> positions), each at confidence 1 − (1 − confidence) / number of slices.

    That is Bonferroni's correction: with m slices the chance that any sound candidate is called worse on some slice stays
    below 1 − confidence. Holm's is a little stronger but has no intervals of its own, and a refusal must be readable off
    the interval that is shown.
    """
    ours, theirs = values_of(candidate, champion, aggregate)
    corrected = 1.0 - (1.0 - confidence) / max(len(members), 1)
    intervals = {}
    for number, (name, positions) in enumerate(members.items()):
        chosen = np.asarray(positions, dtype=np.int64)
        intervals[name] = paired_bootstrap(
            ours[chosen],
            theirs[chosen],
            aggregate,
            higher_is_better,
            resamples=resamples,
            seed=seed + number + 1,
            confidence=corrected,
        )
    return intervals


def values_of(candidate: Scores, champion: Scores, aggregate: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as (examples, statistics) float64, one column for a mean. Raises UsageError if they cannot be compared."""
    ours, theirs = _values(candidate, aggregate), _values(champion, aggregate)
    if ours.shape != theirs.shape:
        raise UsageError(f"Candidate and champion were scored on {len(ours)} and {len(theirs)} examples")
    return ours, theirs


def _values(rows: Scores, aggregate: str) -> np.ndarray:
    """(examples, statistics) as float64, one column for a mean."""
    if aggregate not in {"mean", "bleu"}:
        raise UsageError(f"Unknown aggregate '{aggregate}'", do="use mean or bleu")
    width = 2 + 2 * BLEU_ORDER if aggregate == "bleu" else 1
    try:
        values = np.asarray(rows, dtype=np.float64)
        values = values.reshape(len(values), -1)
    except (TypeError, ValueError):
        raise UsageError(f"Scores of aggregate '{aggregate}' must be {width} numbers per example") from None
    if len(values) == 0:
        raise UsageError("There are no examples to compare")
    if values.shape[1] != width or not np.isfinite(values).all():
        raise UsageError(f"Scores of aggregate '{aggregate}' must be {width} finite numbers per example")
    return values


def score_of(sums: np.ndarray, count: int, aggregate: str) -> np.ndarray:
    """A corpus score from summed statistics: (..., statistics) -> (...,)."""
    return bleu(sums) if aggregate == "bleu" else sums[..., 0] / count


def _resampled_differences(
    ours: np.ndarray, theirs: np.ndarray, aggregate: str, resamples: int, seed: int
) -> np.ndarray:
    """Score differences of all resamples: (resamples,).

    A resample is a vector of how often each example was drawn, so all sums of a block are one matrix product. The draws
    are those of sacrebleu's paired bootstrap with the same seed.
    """
    count = len(ours)
    rng = np.random.default_rng(seed)
    # A mean's differences are summed as such, so that equal examples cancel exactly; BLEU's counts are exact in any order.
    columns = ours - theirs if aggregate == "mean" else np.concatenate([ours, theirs], axis=1)
    block = max(1, _CELLS // count)
    differences = np.empty(resamples)
    for first in range(0, resamples, block):
        size = min(block, resamples - first)
        drawn = rng.integers(0, count, size=(size, count)) + np.arange(size)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)
        sums = weights @ columns
        if aggregate == "mean":
            differences[first : first + size] = sums[:, 0] / count
        else:
            differences[first : first + size] = bleu(sums[:, : ours.shape[1]]) - bleu(sums[:, ours.shape[1] :])
    return differences
