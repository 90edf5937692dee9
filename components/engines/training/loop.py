"""The training loop. It imports neither Ray nor MLflow: it runs wherever its ranks can talk, and tells an observer.

A step is a pure function of params, data and the state before it, so that train N ≡ train k + kill + resume, bit for
bit: batches come from the step's number, random draws are seeded by position, and figures are kept in the state.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from components.engines.base.errors import StageError, UsageError
from components.engines.base.progress import Progress
from components.engines.base.seeds import seed_everything
from components.engines.training import checkpoint
from components.engines.training.batches import StepBatches, StepStream, to_device
from components.engines.training.clock import Clock
from components.engines.training.ema import Ema
from components.engines.training.final import Fit, read_fit, write_fit
from components.engines.training.meter import Meter, shown
from components.engines.training.params import Training, micro_batch_size
from components.engines.training.precision import autocast, numerics
from components.engines.training.profiler import Profiler
from components.engines.training.ranks import Ranks
from components.engines.training.schedule import learning_rate
from components.engines.training.state import Row, State
from components.engines.training.task import Task, check_task
from components.engines.training.turns import Player, add_gradients, make_players, move, require_gradients_of
from components.engines.training.weights import (
    Tensors,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_tensors,
    parameter_names,
)

log = logging.getLogger("genworks")


class Observer(Protocol):
    """Hears the figures of a run while it runs (MLflow, a terminal); on the first rank only."""

    def log(self, step: int, figures: dict[str, float]) -> None: ...

    def close(self) -> None: ...


@dataclass
class Run:
    """Everything alive during a fit."""

    task: Task
    training: Training
    ranks: Ranks
    work: Path
    observer: Observer | None
    players: list[Player]
    ema: Ema | None
    meter: Meter
    state: State = field(default_factory=State)
    shown: dict[str, Any] = field(default_factory=dict)  # on the terminal, as of the last row
    unread: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)  # figures still on the device

    @property
    def clock(self) -> Clock:
        return self.meter.clock

    @property
    def checkpoints(self) -> Path:
        return self.work / "checkpoints"


def fit(
    make_task: Callable[[], Task], training: Training, *, work: Path, ranks: Ranks, observer: Observer | None = None
) -> Fit:
    """Train to the end, from the newest sound checkpoint in `work` if there is one. Every rank calls it.

    A finished fit in `work` returns at once. Raises UsageError before anything starts (sizes that do not divide, a
    checkpoint of other settings) and StageError later (a loss that is not finite, a full disk); checkpoints stay.
    """
    micro_batch_size(training, ranks.world)
    finished = finished_fit(work, training)
    if finished is not None:
        return finished
    with numerics(training):
        run = _start(make_task, training, work, ranks, observer)
        _train(run)
        if ranks.is_first:
            _finish(run)
    ranks.barrier()
    finished = finished_fit(work, training)
    if finished is None:
        raise StageError(
            "The finished fit cannot be read back",
            where=str(work),
            do="all ranks must see the same work folder: put it on a file system they share",
        )
    return finished


def finished_fit(work: Path, training: Training) -> Fit | None:
    """The fit that ended in `work`, or None. Raises UsageError if it was one of other settings."""
    found = read_fit(work)
    if found is None:
        return None
    done, settings = found
    _check_settings(settings, training, work)
    return done


def _check_settings(saved: dict[str, Any], training: Training, work: Path) -> None:
    """Work of other settings is neither resumed nor returned: it would be neither run's result."""
    now = training.identity()
    changed = [
        f"{key}: {saved.get(key)!r} → {now.get(key)!r}"
        for key in sorted({*saved, *now})
        if saved.get(key) != now.get(key)
    ]
    if changed:
        raise UsageError(
            f"The work folder holds a run with other settings ({', '.join(changed)})",
            where=str(work),
            do="use another work folder, or delete this one",
        )


# ---------------------------------------------------------------------------------------------------------- start


def _start(
    make_task: Callable[[], Task], training: Training, work: Path, ranks: Ranks, observer: Observer | None
) -> Run:
    seed_everything(training.seed, "build")
    task = make_task()
    check_task(task)
    _place(task, ranks)
    ema = Ema(task.modules, training.ema_decay) if training.ema_decay is not None else None
    meter = Meter(task, training, ranks)
    run = Run(task, training, ranks, work, observer, make_players(task, training, ranks), ema, meter)
    _resume(run)
    return run


def _place(task: Task, ranks: Ranks) -> None:
    """Modules to the device; those that learn in training mode (hub models come in eval mode), the others not."""
    trained = {id(parameter) for turn in task.turns for parameter in turn.parameters}
    for module in [*task.modules.values(), *task.frozen.values()]:
        module.to(ranks.device)
        module.train(any(id(parameter) in trained for parameter in module.parameters()))
        for parameter in module.parameters():
            parameter.requires_grad_(id(parameter) in trained)


def _resume(run: Run) -> None:
    """Every rank loads the checkpoint that the first rank found sound."""
    found = checkpoint.newest(run.checkpoints) if run.ranks.is_first else None
    found = run.ranks.broadcast(found)
    if found is None:
        return
    _check_settings(found.state["settings"], run.training, run.work)
    names = parameter_names(run.task.modules)
    for name, module in run.task.modules.items():
        load_module(module, found.file(name))
        if run.ema is not None:
            run.ema.load(name, found.tensors(f"ema.{name}"))
    for player in run.players:
        load_optimizer(player.optimizer, names, found.tensors(f"optimizer.{player.turn.name}"))
    run.state = State.from_dict(found.state["run"])


# ----------------------------------------------------------------------------------------------------------- loop


def _train(run: Run) -> None:
    state, training = run.state, run.training
    if state.is_over(training):
        return
    with (
        Progress("Training", training.max_steps, initial=state.step, unit="steps") as progress,
        StepStream(run.task, training, run.ranks, state.step) as stream,
        Profiler(training.profile, run.work, run.ranks, run.observer) as profiler,
    ):
        batches = iter(stream)
        run.clock.restart()
        while not state.is_over(training):
            profiler.at(state.step)
            with run.clock.part("data"):
                step_batches = next(batches)
            _step(run, step_batches)
            _after_step(run)
            if run.ranks.is_first:
                progress.advance(**run.shown)


def _step(run: Run, step_batches: StepBatches) -> None:
    """All turns of one step, in order, each over all micro-batches."""
    training, ranks, step = run.training, run.ranks, step_batches.step
    batches = [to_device(batch, ranks.device) for batch in step_batches.micro_batches]
    with run.clock.part("communication"):
        weights = _global_weights(step_batches, ranks)
    figures: dict[str, Tensor] = {}
    for player, weight in zip(run.players, weights, strict=True):
        if len(run.players) > 1:
            require_gradients_of(player, run.players)
        shares = add_gradients(player, batches, weight, training, ranks, step, run.meter)
        with run.clock.part("optimizer"):
            norm = move(player, training, learning_rate(training, step))
        figures |= {f"{player.turn.name}_{name}": value for name, value in shares.items()}
        # equal on every rank, while shares add up over ranks
        figures[_norm_name(run, player)] = norm.double() / ranks.world
    if run.ema is not None:
        with run.clock.part("optimizer"):
            run.ema.update(step)
    run.unread.append((step, figures))
    run.state.step = step + 1
    run.meter.end_step(step_batches.tokens)


def _norm_name(run: Run, player: Player) -> str:
    return "grad_norm" if len(run.players) == 1 else f"{player.turn.name}_grad_norm"


def _global_weights(step_batches: StepBatches, ranks: Ranks) -> list[float] | list[Tensor]:
    """Per turn, the weight units of the whole step. Between GPUs they stay on the device, unread."""
    if ranks.world == 1:
        weights: list[float] = [float(weight) for weight in step_batches.weights]
    else:
        summed = ranks.sum(torch.tensor(step_batches.weights, dtype=torch.float64, device=ranks.device))
        if ranks.device.type != "cpu":
            return list(summed)
        weights = summed.tolist()
    if 0 in weights:
        raise StageError(
            f"The batch of step {step_batches.step} has nothing to learn from: its loss has weight 0",
            do="drop samples without targets when the data are prepared, or use larger batches",
        )
    return weights


def _after_step(run: Run) -> None:
    """Read, score, log and save, each when it is due."""
    state, training = run.state, run.training
    last = state.step >= training.max_steps
    scores_due = training.score_every is not None and (last or state.step % training.score_every == 0)
    row_due = last or scores_due or state.step % training.log_every == 0
    save_due = state.step % training.checkpoint_every == 0
    # Reading a figure waits for the device, and adding it up for the other ranks: only when it is needed.
    if row_due or save_due or (run.ranks.world == 1 and run.ranks.device.type == "cpu"):
        _read_figures(run)
    scores: Row = {}
    if scores_due:
        scores = _score(run)
        save_due |= state.note_scores(scores, training) and training.select == "best"
    if row_due:
        _add_row(run, scores)
    if save_due or state.is_over(training):
        with run.clock.part("checkpoint"):
            _save(run)


def _read_figures(run: Run) -> None:
    """Bring the figures of the steps since the last reading here, add them up over ranks, and check each."""
    if not run.unread:
        return
    names = list(run.unread[0][1])
    table = torch.stack([torch.stack([figures[name] for name in names]) for _, figures in run.unread])
    with run.clock.part("communication"):
        table = run.ranks.sum(table)
    with run.clock.part("wait"):
        values = table.tolist()
    for (step, _), row in zip(run.unread, values, strict=True):
        figures = dict(zip(names, row, strict=True))
        _check_finite(run, step, figures)
        run.state.window.add(figures)
    run.unread.clear()


def _check_finite(run: Run, step: int, figures: Row) -> None:
    wrong = {name: value for name, value in figures.items() if not math.isfinite(value)}
    if not wrong:
        return
    turn = _turn_of(run, min(wrong))
    saved = checkpoint.saved_steps(run.checkpoints)
    kept = f"the last checkpoint is of step {saved[-1]}" if saved else "there is no checkpoint yet"
    raise StageError(
        f"Training stopped at step {step + 1}, turn '{turn}': "
        f"{', '.join(f'{name} is {value}' for name, value in sorted(wrong.items()))}; {kept}",
        where=str(run.work),
        do="lower learning_rate, set clip_norm or warmup_steps, try precision fp32, or look for bad samples",
    )


def _turn_of(run: Run, figure: str) -> str:
    names = [player.turn.name for player in run.players]
    return names[0] if len(names) == 1 else max((n for n in names if figure.startswith(f"{n}_")), key=len)


def _add_row(run: Run, scores: Row) -> None:
    """A row of the curve: means over the steps since the last row, and the scores of this step if there are any."""
    state = run.state
    rate = learning_rate(run.training, state.step - 1)
    row = {"step": state.step, **state.window.close(), "learning_rate": rate}
    if row.keys() & scores.keys():
        raise UsageError(f"Scores and training figures share names: {sorted(row.keys() & scores.keys())}")
    row |= scores
    state.curve.append(row)
    measured = run.meter.read()  # on every rank: each reading starts its clock anew
    run.shown = shown(row, measured)
    if run.observer is not None and run.ranks.is_first:
        run.observer.log(state.step, {name: value for name, value in row.items() if name != "step"} | measured)


# ---------------------------------------------------------------------------------------------------------- score


def _score(run: Run) -> Row:
    """Score on the first rank; all ranks hear the result, since it decides when to stop."""
    scores: Row = {}
    with run.clock.part("score"):
        if run.ranks.is_first:
            scores = _checked(run, _score_here(run))
        return run.ranks.broadcast(scores)


def _score_here(run: Run) -> Row:
    modes = [(module, module.training) for root in run.task.modules.values() for module in root.modules()]
    seed_everything(run.training.seed, "score")
    with (
        torch.no_grad(),
        run.ema.applied() if run.ema is not None else nullcontext(),
        autocast(run.training, run.ranks.device),
    ):
        for root in run.task.modules.values():
            root.eval()
        try:
            return {name: float(value) for name, value in run.task.score().items()}
        finally:
            for module, mode in modes:
                module.training = mode


def _checked(run: Run, scores: Row) -> Row:
    wrong = {name: value for name, value in scores.items() if not math.isfinite(value)}
    if wrong:
        raise StageError(f"The score after step {run.state.step} is not finite: {wrong}", where=str(run.work))
    metric = run.training.select_metric
    if metric not in scores:
        raise UsageError(f"select_metric '{metric}' is none of the scores ({', '.join(sorted(scores))})")
    return scores


# ----------------------------------------------------------------------------------------------------------- save


def _save(run: Run) -> None:
    """Rank 0 writes. Buffers follow rank 0 first, so that going on and resuming from here are the same."""
    if run.ranks.world > 1:
        for module in run.task.modules.values():
            for buffer in module.buffers():
                run.ranks.broadcast_tensor(buffer)
    if run.ranks.is_first:
        state = {"run": run.state.as_dict(), "settings": run.training.identity()}
        checkpoint.save(run.checkpoints, run.state.step, _files(run), state)
        keep = run.state.best_step if run.training.select == "best" else None
        checkpoint.prune(run.checkpoints, [keep])
    run.ranks.barrier()


def _files(run: Run) -> dict[str, Tensors]:
    names = parameter_names(run.task.modules)
    files = {name: module_tensors(module) for name, module in run.task.modules.items()}
    if run.ema is not None:
        files |= {f"ema.{name}": tensors for name, tensors in run.ema.shadow.items()}
    return files | {
        f"optimizer.{player.turn.name}": optimizer_tensors(player.optimizer, names) for player in run.players
    }


def _finish(run: Run) -> None:
    """Publish the selected weights: averaged ones when EMA is on, the best ones when asked for."""
    state, training = run.state, run.training
    prefix = "ema." if run.ema is not None else ""
    step, scores = state.step, state.scores
    if training.select == "best" and state.best_step is not None:
        step, scores = state.best_step, state.best_scores
    source = checkpoint.read(run.checkpoints, step)
    if source is None:
        raise StageError(
            f"The checkpoint of step {step}, whose weights were selected, is gone or damaged",
            where=str(run.checkpoints),
            do="delete the work folder and train again",
        )
    weights = {name: source.tensors(f"{prefix}{name}") for name in run.task.modules}
    figures = {"step": step, "curve": state.curve, "scores": scores, "settings": training.identity()}
    write_fit(run.work, figures, weights)
