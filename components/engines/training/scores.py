"""Scoring within a fit: where it happens under each layout, on which weights, and what scores must be."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch

from components.engines.base.errors import StageError, UsageError
from components.engines.base.seeds import seed_everything
from components.engines.training.checkpoints.weights import learnt_tensors
from components.engines.training.compiling import uncompiled
from components.engines.training.parallel.sharded import forget_gathered
from components.engines.training.precision import autocast
from components.engines.training.rollout import evaluating
from components.engines.training.run import Run
from components.engines.training.state import Row
from components.engines.training.task import Task


def score(run: Run) -> Row:
    """Score on the first rank, or on all where networks are in pieces; all hear the result, since it decides when to stop."""
    scores: Row = {}
    with run.clock.part("score"):
        if run.whole is not None:
            live = learnt_tensors(run.task.modules, run.frozen.names)
            task = run.whole.filled(run.ema.shadow if run.ema is not None else live)
            if task is not None:
                scores = _checked(run, _score_here(run, task, nullcontext()))
        elif run.ranks.is_first or run.ranks.in_pieces(run.training.layout):
            averaged = run.ema.applied() if run.ema is not None else nullcontext()
            scores = _checked(run, _score_here(run, run.task, averaged))
            forget_gathered(run.task.modules.values())
        return run.ranks.broadcast(scores)


def _score_here(run: Run, task: Task, averaged: AbstractContextManager[None]) -> Row:
    seed_everything(run.training.seed, "score")
    with (
        torch.no_grad(),
        averaged,
        evaluating(task.modules.values()),
        uncompiled(run.training),
        autocast(run.training, run.ranks.device),
    ):
        return {name: float(value) for name, value in task.score().items()}


def _checked(run: Run, scores: Row) -> Row:
    wrong = {name: value for name, value in scores.items() if not math.isfinite(value)}
    if wrong:
        raise StageError(f"The score after step {run.state.step} is not finite: {wrong}", where=str(run.work))
    metric = run.training.select_metric
    if metric not in scores:
        raise UsageError(f"select_metric '{metric}' is none of the scores ({', '.join(sorted(scores))})")
    return scores
