"""What a run knows besides tensors: counters, the curve so far, the best score. JSON, and exact as such."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from components.engines.training.params import Training

Row = dict[str, float]


@dataclass
class Window:
    """Sums of the figures of the steps since the last row of the curve, and of how many steps each is."""

    sums: Row = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def add(self, figures: Row) -> None:
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.steps[name] = self.steps.get(name, 0) + 1

    def close(self) -> Row:
        """Means since the last row, but of skipped steps the number; starts the next window."""
        row = {
            name: total if name.endswith("skipped_steps") else total / self.steps[name]
            for name, total in self.sums.items()
        }
        self.sums, self.steps = {}, {}
        return row


@dataclass
class State:
    """`step` counts finished steps; `misses` counts scores since the best one."""

    step: int = 0
    curve: list[Row] = field(default_factory=list)
    window: Window = field(default_factory=Window)
    scores: Row = field(default_factory=dict)
    best_step: int | None = None
    best_scores: Row = field(default_factory=dict)
    misses: int = 0
    scalers: dict[str, dict[str, Any]] = field(default_factory=dict)  # by turn, as of the save; under fp16

    def note_scores(self, scores: Row, training: Training) -> bool:
        """Keep the scores of this step; True if they are the best so far."""
        self.scores = scores
        sign = 1 if training.select_mode == "max" else -1
        metric = training.select_metric
        if self.best_step is not None and sign * scores[metric] <= sign * self.best_scores[metric]:
            self.misses += 1
            return False
        self.best_step, self.best_scores, self.misses = self.step, scores, 0
        return True

    def is_over(self, training: Training) -> bool:
        out_of_patience = training.patience is not None and self.misses >= training.patience
        return self.step >= training.max_steps or out_of_patience

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> State:
        return cls(**{**values, "window": Window(**values["window"])})
