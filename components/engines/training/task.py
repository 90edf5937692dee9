"""What a room says about its training: modules, data, and one loss per turn. The loop does the rest."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from components.engines.base.errors import UsageError

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Turn:
    """One optimiser's move within a step: a language model has one turn, a GAN two.

    `loss(batch)` returns the SUM of the loss over the batch's weight units (target tokens, pixels, samples) and sums of
    further figures over the same units; `weight(batch)` counts those units. The loop divides by the units of the whole
    global batch, so that the gradient depends neither on padding nor on how the batch was split. `weight` is called
    before the batch moves to the device, in the thread that made it: it must not touch the modules.
    """

    name: str
    loss: Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]
    parameters: list[nn.Parameter]
    weight: Callable[[Batch], int]
    every_parameter_used: bool = True  # False: some get no gradient in some steps (costs a graph walk on several ranks)


class Task(ABC):
    """One training job. Built once per process by `make_task`, after the seeds are set, on the CPU."""

    modules: dict[str, nn.Module]  # saved in checkpoints and in the final weights; names become file names
    frozen: Mapping[str, nn.Module] = {}  # moved to the device and kept in eval mode, never saved (a teacher, a VAE)
    turns: list[Turn]
    num_samples: int

    @abstractmethod
    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        """Collate these samples: a pure function of its arguments (called in a thread, on any rank, in any order).

        Randomness (masks, crops) comes from `seeds.derive(seed, purpose, epoch, index)`, never from global state.
        """

    def tokens(self, batch: Batch) -> int | None:
        """How many tokens a batch holds, padding left out, for tokens per second; None where that means nothing.

        Called as `Turn.weight` is: before the batch moves to the device, in the thread that made it.
        """
        return None

    @abstractmethod
    def score(self) -> dict[str, float]:
        """Validation figures of the modules as they are now (eval mode, no gradient, EMA weights when those are on)."""


def check_task(task: Task) -> None:
    """Refuse a task whose turns could not be trained, saved or told apart."""
    names = [turn.name for turn in task.turns]
    if not names or len(set(names)) != len(names):
        raise UsageError(f"A task needs turns with different names, got {names}")
    for name in [*names, *task.modules]:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise UsageError(f"'{name}' names a turn or module: use lower-case letters, digits and underscores")
    if task.num_samples < 1:
        raise UsageError("The training split is empty", do="look at the funnel of the stage that wrote it")
    saved = {id(parameter) for module in task.modules.values() for parameter in module.parameters()}
    for turn in task.turns:
        lost = sum(id(parameter) not in saved for parameter in turn.parameters)
        if lost or not turn.parameters:
            raise UsageError(
                f"Turn '{turn.name}' trains {len(turn.parameters)} parameters, {lost} of them in no module of the task",
                do="put every trained module into Task.modules, otherwise its weights would not be saved",
            )
