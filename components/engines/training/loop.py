"""The training loop. It imports neither Ray nor MLflow: it runs wherever its ranks can talk, and tells an observer.

A step is a pure function of params, data and the state before it, so that train N ≡ train k + kill + resume, bit for
bit: batches come from the step's number, random draws are seeded by position, and figures are kept in the state.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
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
from components.engines.training.compiling import compilation, compile_modules, uncompiled
from components.engines.training.ema import Ema
from components.engines.training.final import Fit, read_fit, write_fit
from components.engines.training.memory import recompute_blocks
from components.engines.training.parallel.gradients import is_spread
from components.engines.training.parallel.sharded import forget_gathered
from components.engines.training.parallel.whole import Whole
from components.engines.training.params import Training, micro_batch_size
from components.engines.training.precision import autocast, check_precision, numerics
from components.engines.training.ranks import Ranks
from components.engines.training.rollout import evaluating, roll_out
from components.engines.training.saver import Saver
from components.engines.training.schedule import learning_rate
from components.engines.training.state import Row, State
from components.engines.training.task import Task, check_task, rolls_out
from components.engines.training.turns import (
    Player,
    add_gradients,
    loss_scales,
    make_players,
    move,
    of_moves_made,
    over_moves,
    own_name,
    require_gradients_of,
)
from components.engines.training.weights import (
    Tensors,
    empty_optimizer_tensors,
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
    saver: Saver
    whole: Whole | None = None  # of a pipeline
    state: State = field(default_factory=State)
    clock: Clock = field(default_factory=Clock)
    unread: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)  # figures still on the device

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
    check_precision(training, ranks.device)
    with numerics(training), compilation(training, ranks.device):
        run = _start(make_task, training, work, ranks, observer)
        try:
            _train(run)
        finally:
            run.saver.wait()
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
    ranks = ranks.arranged(training.layout)
    seed_everything(training.seed, "build")
    task = make_task()
    check_task(task)
    recompute_blocks(task, training)
    compile_modules(task, training)
    _place(task, ranks)
    players = make_players(task, training, ranks)
    ema = Ema(task.modules, training.ema_decay) if training.ema_decay is not None else None
    run = Run(task, training, ranks, work, observer, players, ema, Saver(work / "checkpoints", training, ranks))
    if ranks.ways.kind == "pipeline":
        run.whole = Whole(make_task, ranks)
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
    alone = run.ranks.world == 1
    names = parameter_names(run.task.modules)
    found.load(_weights(run), alone=alone)
    for player in run.players:
        group = f"optimizer.{player.turn.name}"
        tensors = empty_optimizer_tensors(player.optimizer, names, found.saved(group))
        found.load({group: tensors}, alone=alone)
        load_optimizer(player.optimizer, names, tensors)
    run.state = State.from_dict(found.state["run"])
    for player in run.players:
        if player.scaler is not None:
            player.scaler.load(run.state.scalers[player.turn.name])


# ----------------------------------------------------------------------------------------------------------- loop


def _train(run: Run) -> None:
    state, training = run.state, run.training
    if state.is_over(training):
        return
    with (
        Progress("Training", training.max_steps, initial=state.step, unit="steps") as progress,
        StepStream(run.task, training, run.ranks, state.step) as stream,
    ):
        batches = iter(stream)
        while not state.is_over(training):
            with run.clock.part("data"):
                step_batches = next(batches)
            _step(run, step_batches)
            _after_step(run)
            if run.ranks.is_first:
                progress.advance(**_shown(state))


def _step(run: Run, step_batches: StepBatches) -> None:
    """All turns of one step, in order, each over all micro-batches."""
    training, ranks, step = run.training, run.ranks, step_batches.step
    batches = [to_device(batch, ranks.device) for batch in step_batches.micro_batches]
    step_batches = replace(step_batches, micro_batches=batches)
    if rolls_out(run.task):
        with run.clock.part("rollout"):
            step_batches = roll_out(run.task, training, ranks, step_batches)
    weights = _global_weights(step_batches, ranks)
    figures: dict[str, Tensor] = {}
    for player, weight in zip(run.players, weights, strict=True):
        if len(run.players) > 1:
            require_gradients_of(player, run.players)
        moves = []
        for repeat in range(player.turn.repeats):
            with run.clock.part("forward_backward"):
                shares = add_gradients(player, step_batches.micro_batches, weight, training, ranks, step, repeat)
            shares = {f"{player.turn.name}_{name}": value for name, value in shares.items()}
            with run.clock.part("optimizer"):
                moves.append(shares | move(player, run.players, training, learning_rate(training, step)))
        for name, value in over_moves(moves, ranks).items():
            figures[name if name in shares else own_name(name, player, run.players)] = value
    if run.ema is not None:
        with run.clock.part("optimizer"):
            run.ema.update(step)
    run.unread.append((step, figures))
    run.state.step = step + 1
    run.clock.steps += 1


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
    values = run.ranks.sum(table).tolist()
    for (step, _), row in zip(run.unread, values, strict=True):
        figures = of_moves_made(dict(zip(names, row, strict=True)), run.players)
        _check_finite(run, step, figures)
        run.state.window.add(figures)
    run.unread.clear()


def _check_finite(run: Run, step: int, figures: Row) -> None:
    wrong = {name: value for name, value in figures.items() if not math.isfinite(value)}
    if not wrong:
        return
    turn = _turn_of(run, min(wrong))
    run.saver.wait()
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
    row |= loss_scales(run.players)
    if row.keys() & scores.keys():
        raise UsageError(f"Scores and training figures share names: {sorted(row.keys() & scores.keys())}")
    row |= scores
    state.curve.append(row)
    if run.observer is not None and run.ranks.is_first:
        figures = {name: value for name, value in row.items() if name != "step"}
        run.observer.log(state.step, {**figures, **run.clock.read(run.training.batch_size)})


def _shown(state: State) -> dict[str, Any]:
    if not state.curve:
        return {}
    return {name: float(f"{value:.4g}") for name, value in state.curve[-1].items() if name.endswith("loss")}


# ---------------------------------------------------------------------------------------------------------- score


def _score(run: Run) -> Row:
    """Score on the first rank, or on all where networks are in pieces; all hear the result, since it decides when to stop."""
    scores: Row = {}
    with run.clock.part("score"):
        if run.whole is not None:
            tensors = run.ema.shadow if run.ema is not None else _modules(run)
            task = run.whole.filled(tensors)
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


# ----------------------------------------------------------------------------------------------------------- save


def _save(run: Run) -> None:
    """Buffers follow rank 0 first, so that going on and resuming from here are the same."""
    if run.ranks.world > 1 and run.ranks.ways.kind != "pipeline":
        for module in run.task.modules.values():
            for buffer in module.buffers():
                run.ranks.broadcast_tensor(buffer)
    run.state.scalers = {p.turn.name: p.scaler.as_dict() for p in run.players if p.scaler is not None}
    names = parameter_names(run.task.modules)
    groups = _weights(run)
    if (
        run.ranks.data_rank > 0
    ):  # averages of buffers differ by rank: what is not sharded is written as the first has it
        groups = {group: {n: t for n, t in tensors.items() if is_spread(t)} for group, tensors in groups.items()}
    groups |= {f"optimizer.{player.turn.name}": optimizer_tensors(player.optimizer, names) for player in run.players}
    state = {"run": run.state.as_dict(), "settings": run.training.identity()}
    run.saver.save(run.state.step, groups, state, [run.state.best_step if run.training.select == "best" else None])


def _modules(run: Run) -> dict[str, Tensors]:
    return {name: module_tensors(module) for name, module in run.task.modules.items()}


def _weights(run: Run) -> dict[str, Tensors]:
    """The networks' tensors and their averages, live: as checkpoints group them."""
    groups = {f"module.{name}": tensors for name, tensors in _modules(run).items()}
    if run.ema is not None:
        groups |= {f"ema.{name}": tensors for name, tensors in run.ema.shadow.items()}
    return groups


def _finish(run: Run) -> None:
    """Publish the selected weights: averaged ones when EMA is on, the best ones when asked for."""
    state, training = run.state, run.training
    prefix = "ema" if run.ema is not None else "module"
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
    weights = {name: source.whole(f"{prefix}.{name}") for name in run.task.modules}
    figures = {"step": step, "curve": state.curve, "scores": scores, "settings": training.identity()}
    write_fit(run.work, figures, weights)
