"""What a room says about its training: modules, data, and one loss per turn. The loop does the rest."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from components.engines.base.errors import UsageError
from components.engines.training.params import Training

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Pieces:
    """A turn's loss in two halves, cut at the output of one network: what a pipeline of stages needs to know.

    `forward(network, batch)` gives the output tensor, `loss(output, batch)` what `Turn.loss` gives. Micro-batches must have equal
    shapes, with samples along dimension 0 of every tensor.
    """

    module: str
    forward: Callable[[nn.Module, Batch], Tensor]
    loss: Callable[[Tensor, Batch], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class Turn:
    """One optimiser's move within a step: a language model has one turn, a GAN two.

    `loss(batch)` returns the SUM of the loss over the batch's weight units (target tokens, pixels, samples) and sums of
    further figures over the same units; `weight(batch)` counts those units. The loop divides by the units of the whole
    global batch, so that the gradient depends neither on padding nor on how the batch was split. Sum in fp32: in fp16
    a sum overflows at 65 504. `weight` is called before the batch moves to the device, in the thread that made it: it
    must not touch the modules. If the task has a `rollout`, it is called after that, with what the rollout returned.

    A turn with `repeats` moves so many times on the same batches before the next one's turn (PPO's epochs,
    arXiv:1707.06347; the critic of a Wasserstein GAN, arXiv:1701.07875). Its figures are means over the moves.
    """

    name: str
    loss: Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]
    parameters: list[nn.Parameter]
    weight: Callable[[Batch], int]
    pieces: Pieces | None = None  # for layouts with a pipeline
    every_parameter_used: bool = True  # False: some get no gradient in some steps (costs a graph walk on several ranks)
    repeats: int = 1


class Task(ABC):
    """One training job. Built once per process by `make_task`, after the seeds are set, on the CPU."""

    modules: dict[str, nn.Module]  # saved in checkpoints and in the final weights; names become file names
    frozen: Mapping[str, nn.Module] = {}  # moved to the device and kept in eval mode, never saved (a teacher, a VAE)
    turns: list[Turn]
    num_samples: int
    step: int = 0  # the step under way, set by the loop: for a loss that changes with it (a term that begins later)
    # What gradient checkpointing recomputes; None: the repeated blocks (see memory.py). A block's forward must change
    # nothing but its output: no running statistics, no state of its own.
    blocks: Sequence[nn.Module] | None = None

    @abstractmethod
    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        """Collate these samples: a pure function of its arguments (called in a thread, on any rank, in any order).

        Randomness (masks, crops) comes from `seeds.derive(seed, purpose, epoch, index)`, never from global state.
        """

    def rollout(self, batch: Batch, step: int) -> Batch:
        """What the turns of this step learn from instead of `batch`: samples of the policy, with their rewards.

        Called once per step and micro-batch before the first turn, on the device, without gradients, in eval mode,
        under the run's precision, uncompiled. Its draws are seeded by (step, micro-batch, rank); one that must not
        depend on the number of processes takes its randomness from `batch`.
        """
        return batch

    def count_tokens(self, batch: Batch) -> int | None:
        """How many tokens a batch holds, padding left out, for tokens per second; None where that means nothing.

        Called as `Turn.weight` is: before the batch moves to the device, in the thread that made it.
        """
        return None

    @abstractmethod
    def score(self) -> dict[str, float]:
        """Validation figures of the modules as they are now (eval mode, no gradient, EMA weights when those are on)."""


def rolls_out(task: Task) -> bool:
    return type(task).rollout is not Task.rollout


def check_task(task: Task, training: Training) -> None:
    """Refuse a task whose turns could not be trained, saved or told apart, or are not those that the params speak of."""
    names = [turn.name for turn in task.turns]
    if unknown := sorted(training.turns.keys() - set(names)):
        raise UsageError(f"training.turns names {', '.join(unknown)}, but the turns are {', '.join(names)}")
    if not names or len(set(names)) != len(names):
        raise UsageError(f"A task needs turns with different names, got {names}")
    for name in [*names, *task.modules]:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise UsageError(f"'{name}' names a turn or module: use lower-case letters, digits and underscores")
    if task.num_samples < 1:
        raise UsageError("The training split is empty", do="look at the funnel of the stage that wrote it")
    saved = {id(parameter) for module in task.modules.values() for parameter in module.parameters()}
    for turn in task.turns:
        if turn.repeats < 1:
            raise UsageError(f"Turn '{turn.name}' has repeats {turn.repeats}: it must move at least once")
        lost = sum(id(parameter) not in saved for parameter in turn.parameters)
        if lost or not turn.parameters:
            raise UsageError(
                f"Turn '{turn.name}' trains {len(turn.parameters)} parameters, {lost} of them in no module of the task",
                do="put every trained module into Task.modules, otherwise its weights would not be saved",
            )
