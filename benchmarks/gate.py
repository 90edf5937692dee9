"""The gate tried out: 200 worse candidates in a row on one test set, and what sound ones need to pass.

    python -m benchmarks gate

The statistics are those of the gate (`scoring/evidence.py`, `flows/alpha.py`); scores are drawn. `ours` spends an alpha ledger,
`theirs` is the same test at a fixed level of .05 every time. Scores are right or wrong (`0/1`; losses on 5 % of the examples), or
a mean where 12 % of the examples lose, and others gain, a part of a score of 3 to 6 (`skewed`, like CIDEr-D).
Candidates err independently, which gives chance more tries than candidates that err alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from components.engines.scoring.evidence import _score_statistic, exact_p, student_p
from flows.alpha import weight

ALPHA, EXAMPLES, ROW, ROWS = 0.05, 500, 200, 300
LOSSES = {"0/1": 0.05, "skewed": 0.12}  # share of examples on which a candidate does worse
TOLERANCE = {"0/1": 0.02, "skewed": 0.15}
_HOPELESS = 1.2  # a smaller statistic has a p far above every level: the exact sum is spared

Draw = Callable[[np.random.Generator, int, float], np.ndarray]


def zero_one(rng: np.random.Generator, count: int, gain: float) -> np.ndarray:
    """p-values of `count` candidates with this true gain: (count,)."""
    losses, bound = max(LOSSES["0/1"], -gain), -TOLERANCE["0/1"]
    drawn = rng.multinomial(EXAMPLES, [losses + gain, losses, 1 - 2 * losses - gain], size=count)
    wins, lost = drawn[:, 0], drawn[:, 1]
    hopeful = _score_statistic(EXAMPLES, wins, lost, bound) > _HOPELESS
    found = np.ones(count)
    found[hopeful] = [
        exact_p(EXAMPLES, int(w), int(n), bound) for w, n in zip(wins[hopeful], lost[hopeful], strict=True)
    ]
    return found


def skewed(rng: np.random.Generator, count: int, gain: float) -> np.ndarray:
    """The same for the other kind."""
    found: list[np.ndarray] = []
    losses = LOSSES["skewed"]
    wins = losses + gain / 2.25  # a win or loss is 2.25 on average
    assert wins >= 0
    for first in range(0, count, 1000):
        size = min(1000, count - first)
        score, part = rng.uniform(3, 6, (size, EXAMPLES)), rng.random((size, EXAMPLES))
        kind = rng.random((size, EXAMPLES))
        gains = np.where(kind < losses, -score * part, np.where(kind > 1 - wins, score * part, 0.0))
        found.append(student_p(gains, 6.0, -TOLERANCE["skewed"]))
    return np.concatenate(found)


def wrong_promotions(draw: Draw, gain: float, rows: int = ROWS) -> tuple[float, float]:
    """The share of rows of `ROW` candidates in which any is promoted: with the alpha ledger, and at a fixed level."""
    rng = np.random.default_rng(1)
    levels = ALPHA * np.array([weight(number) for number in range(1, ROW + 1)])
    found = draw(rng, rows * ROW, gain).reshape(rows, ROW)
    return float((found <= levels).any(axis=1).mean()), float((found <= ALPHA).any(axis=1).mean())


def power(draw: Draw, gain: float, number: int, tries: int = 2000) -> tuple[float, float]:
    """The share of candidates with this gain that are promoted as judgement `number`, and at a fixed level."""
    found = draw(np.random.default_rng(2), tries, gain)
    return float((found <= ALPHA * weight(number)).mean()), float((found <= ALPHA).mean())


def run(repeats: int = 1) -> list[dict[str, Any]]:
    """Rows for the table; `repeats` is of no use here, since everything is drawn from a fixed seed."""
    rows = []
    for kind, draw in (("0/1", zero_one), ("skewed", skewed)):
        tolerance = TOLERANCE[kind]
        for times in (1.0, 1.25, 1.5):
            ours, theirs = wrong_promotions(draw, -times * tolerance)
            name = f"{kind}: any of {ROW} promoted that lose {times:g} × tolerance"
            rows.append({"name": name, "ours": ours, "theirs": theirs, "bar": ALPHA})
        for words, gain in (("equal", 0.0), ("better by the tolerance", tolerance)):
            for number in (1, 10, 100):
                ours, theirs = power(draw, gain, number)
                rows.append(
                    {"name": f"{kind}: {words}, promoted as judgement {number}", "ours": ours, "theirs": theirs}
                )
    return rows
