"""Rollouts: before the turns of a step, the task may replace its batches by what the policy makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from components.engines.training.batches import StepBatches, count_weights
from components.engines.training.compiling import uncompiled
from components.engines.training.draws import seed_place
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from components.engines.training.precision import autocast
from components.engines.training.task import Task


def roll_out(task: Task, training: Training, ranks: Ranks, given: StepBatches) -> StepBatches:
    """The step with what the task made of its batches (on the device already), and the weights of that."""
    batches = []
    with torch.no_grad(), evaluating(task.modules.values()), uncompiled(training):
        for number, batch in enumerate(given.micro_batches):
            seed_place(ranks.device, training.seed, "rollout", given.step, number, ranks.data_rank)
            with autocast(training, ranks.device):
                batches.append(task.rollout(batch, given.step))
    return replace(given, micro_batches=batches, weights=count_weights(task, batches))


@contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """The modules in eval mode inside; after it each submodule in the mode it had."""
    roots = list(modules)
    modes = [(module, module.training) for root in roots for module in root.modules()]
    for root in roots:
        root.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
