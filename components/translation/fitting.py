"""Running a sequence-to-sequence task and saving what it learned: shared by pretraining and fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from components.engines.base.stage import StageContext
from components.engines.tracking.runs import stage_run
from components.engines.training.curve import write_curve
from components.engines.training.launch import launch
from components.engines.training.params import Training
from components.engines.training.weights import load_module


def fit_and_save(
    make_task: Callable[[], Any],
    training: Training,
    context: StageContext,
    folder: Path,
    curve: Path,
    *,
    restored: Callable[[Any], list[Any]] | None = None,
) -> None:
    """Train (resuming unfinished work), then write the checkpoint folder and the loss curve (CSV).

    The parts of the model that `restored` names are written as they were before the training.
    """
    with stage_run(context, training.model_dump()) as run:
        fit = launch(make_task, training, work=context.work, observer_factory=run.observer)
        run.log_metrics(fit.scores)
    task = make_task()
    before = [(part, deepcopy(part.state_dict())) for part in (restored(task.model) if restored else [])]
    load_module(task.model, fit.weights / "model.safetensors")
    for part, state in before:
        part.load_state_dict(state)
    save(task.model, task.tokenizer, folder)
    write_curve(curve, fit.curve)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """A folder as transformers' `save_pretrained` writes it (safetensors, tokenizer beside)."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
