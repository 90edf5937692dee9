"""Learning rate as a pure function of the step, so that nothing has to be saved to resume it."""

from __future__ import annotations

import math

from components.engines.training.params import Training


def learning_rate(training: Training, step: int, start: int = 0) -> float:
    """The rate of step `step` (from 0): linear warm-up to the peak, then the schedule, never below the minimum.

    What moves from step `start` on is warmed up from there; the schedule is that of the whole run.
    """
    rate, warmup = training.learning_rate, training.warmup_steps
    if step >= warmup:
        done = (step - warmup) / (training.max_steps - warmup)
        rate *= max(training.min_learning_rate_ratio, _shape(training, step, min(done, 1.0)))
    taken = step - start + 1
    return rate * taken / warmup if taken < warmup else rate


def _shape(training: Training, step: int, done: float) -> float:
    low = training.min_learning_rate_ratio
    match training.schedule:
        case "constant":
            return 1.0
        case "linear":
            return low + (1 - low) * (1 - done)
        case "cosine":  # Loshchilov & Hutter, SGDR, arXiv:1608.03983, one cycle
            return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done))
        case "inverse_sqrt":  # Vaswani et al., arXiv:1706.03762 § 5.3
            return math.sqrt(max(training.warmup_steps, 1) / (step + 1))
