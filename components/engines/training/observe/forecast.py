"""A few real steps of a training, for a forecast of all of them: same task, params and workers, in a scratch work folder.

The fit is an ordinary one with other dates: warm-up steps, measured ones, one checkpoint and one scoring if the training has
any, heard by an observer that writes the figures down. What a score costs is measured on a network that has learnt nothing;
where scoring generates until the network ends its text, it may take longer or shorter later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.engines.base.paths import write_json
from components.engines.training.params import Training

ROW_STEPS = 5
WARM_STEPS, MEASURED_STEPS = ROW_STEPS, 2 * ROW_STEPS
ALL_STEPS = WARM_STEPS + MEASURED_STEPS


def shortened(training: Training) -> Training:
    """The same training with a probe's length. Its warm-up stays as it is, so that a first step is no larger than a real one,
    and every turn moves from the first step on.

    The checkpoint falls on the step before the last: the last row then tells what it took.
    """
    return training.model_copy(
        update={
            "max_steps": ALL_STEPS,
            "log_every": ROW_STEPS,
            "checkpoint_every": ALL_STEPS - 1,
            "score_every": ALL_STEPS if training.score_every is not None else None,
            "select": "last",
            "patience": None,
            "profile": None,
            "turns": {n: own.model_copy(update={"start_step": 0}) for n, own in training.turns.items()},
        }
    )


def num_scores(training: Training) -> int:
    """How often the whole training scores; early stopping, which would make it shorter, is not foreseen."""
    return 0 if training.score_every is None else math.ceil(training.max_steps / training.score_every)


def num_checkpoints(training: Training) -> int:
    """How often it saves, if every score is a new best one: at most, where the best are kept."""
    steps = {training.max_steps, *range(training.checkpoint_every, training.max_steps, training.checkpoint_every)}
    if training.score_every is not None and training.selects_best:
        steps.update(range(training.score_every, training.max_steps, training.score_every))
    return len(steps)


@dataclass
class ForecastObserver:
    """The observer of a probe of `training`: writes `file` when it is closed, if the probe came to its end.

    Seconds are those of one step (scoring and saving apart), one score and one checkpoint. `seconds_probe` is all the time
    that these explain: what the command took beyond it is its start.
    """

    training: Training
    file: Path
    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def log(self, step: int, figures: dict[str, float]) -> None:
        self.rows.append((step, figures))

    def close(self) -> None:
        if self.rows and self.rows[-1][0] == ALL_STEPS:
            write_json(self.file, self._figures())

    def _figures(self) -> dict[str, Any]:
        measured = [figures for step, figures in self.rows if step > WARM_STEPS]
        last = self.rows[-1][1]
        score = last.get("seconds_score", 0.0) * ROW_STEPS
        checkpoint = last.get("seconds_checkpoint", 0.0) * ROW_STEPS
        told = {
            "steps": self.training.max_steps,
            "scores": num_scores(self.training),
            "checkpoints": num_checkpoints(self.training),
            "seconds_step": _mean(measured, "seconds_step"),
            "seconds_score": score,
            "seconds_checkpoint": checkpoint,
            "seconds_probe": sum(figures["seconds_step"] for _, figures in self.rows) * ROW_STEPS + score + checkpoint,
            "peak_memory_mb": max(figures["peak_memory_mb"] for _, figures in self.rows),
        }
        rates = [name for name in ("samples_per_second", "tokens_per_second", "mfu") if name in last]
        return told | {name: _mean(measured, name) for name in rates}


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
