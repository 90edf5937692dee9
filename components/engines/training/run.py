"""Everything alive during a fit: what the parts of the loop hand each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from components.engines.training.batches import StepBatches
from components.engines.training.checkpoints.background import BackgroundWriter
from components.engines.training.checkpoints.frozen import Frozen
from components.engines.training.ema import Ema
from components.engines.training.faults.stopping import Stopper
from components.engines.training.observe.clock import Clock
from components.engines.training.observe.meter import Meter
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.parallel.whole import Whole
from components.engines.training.params import Training
from components.engines.training.state import State
from components.engines.training.task import Task
from components.engines.training.turns import Player


class Observer(Protocol):
    """Hears the figures of a run while it runs (MLflow, a terminal); on the first rank only."""

    def log(self, step: int, figures: dict[str, float]) -> None: ...

    def close(self) -> None: ...


@dataclass
class Run:
    """One rank's side of a fit."""

    task: Task
    training: Training
    ranks: Ranks
    work: Path
    observer: Observer | None
    players: list[Player]
    ema: Ema | None
    saver: BackgroundWriter
    stopper: Stopper
    meter: Meter
    frozen: Frozen
    whole: Whole | None  # of a pipeline
    state: State = field(default_factory=State)
    shown: dict[str, Any] = field(default_factory=dict)  # on the terminal, as of the last row
    unread: list[tuple[StepBatches, dict[str, Tensor]]] = field(default_factory=list)  # figures still on the device

    @property
    def clock(self) -> Clock:
        return self.meter.clock

    @property
    def checkpoints(self) -> Path:
        return self.work / "checkpoints"
