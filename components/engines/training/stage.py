"""What every training stage does around its task: a tracked run, the launch, the curve, and the weights that were learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import UsageError
from components.engines.base.params import Params
from components.engines.base.stage import StageContext
from components.engines.training.params import Training

if TYPE_CHECKING:
    from components.engines.training.task import Task


class Trained(Params):
    """Params of a stage that trains, or, not `enabled`, hands on what its training would start from."""

    enabled: bool = True
    training: Training


@dataclass(frozen=True)
class Learnt:
    """Weights by module of the task; None where nothing was trained."""

    weights: Path | None

    def load(self, module: Any, name: str = "model") -> None:
        """Put the weights learnt under `name` (a key of Task.modules) into a module of the same shape; without any, it stays."""
        from components.engines.training.checkpoints.weights import load_module

        if self.weights is not None:
            load_module(module, self.weights / f"{name}.safetensors")


def train_stage(
    context: StageContext, params: Trained, make_task: Callable[[], Task], curve: Path, *, needed: bool = True
) -> Learnt:
    """Train as `params.training` says, resuming unfinished work, and write the curve (CSV; a lone header without training).

    Not `needed` says that this time there is nothing to learn, whatever the params say. `make_task` travels to the workers: a
    functools.partial of a module-level function with picklable arguments.
    """
    from components.engines.tracking.runs import stage_run
    from components.engines.training.launch import launch
    from components.engines.training.observe.curve import write_curve

    if not (params.enabled and needed):
        write_curve(curve, [])
        return Learnt(None)
    with stage_run(context, params.model_dump()) as run:
        fit = launch(make_task, params.training, work=context.work, observer_factory=run.observer)
        run.log_metrics(fit.scores)
    write_curve(curve, fit.curve)
    return Learnt(fit.weights)


def require_something(context: StageContext, params: Trained, init_from: str | None) -> None:
    """Raises UsageError where neither training nor a checkpoint would give the stage weights that are worth anything."""
    if not params.enabled and init_from is None:
        raise UsageError(
            f"Nothing to use: {context.system}.{context.stage}.enabled is false and {context.system}.architecture.init_from "
            "is null",
            where="params.yaml",
            do="name a checkpoint there, or train",
        )
