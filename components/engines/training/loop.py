"""The training loop. It imports neither Ray nor MLflow: it runs wherever its ranks can talk, and tells an observer.

A step is a pure function of params, data and the state before it, so that train N ≡ train k + kill + resume, bit for
bit: batches come from the step's number, random draws are seeded by position, and figures are kept in the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from components.engines.base.errors import StageError, UsageError
from components.engines.base.progress import Progress
from components.engines.base.seeds import seed_everything
from components.engines.training.batches import StepBatches, StepStream, to_device
from components.engines.training.checkpoints import saved_run
from components.engines.training.checkpoints.background import BackgroundWriter
from components.engines.training.checkpoints.final import Fit
from components.engines.training.checkpoints.frozen import frozen_part
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.checkpoints.weights import learnt_tensors
from components.engines.training.compiling import compilation, compile_modules
from components.engines.training.ema import Ema
from components.engines.training.faults.dump import reads_before_move, require_finite
from components.engines.training.faults.hanging import absentees_named, limit_waiting
from components.engines.training.faults.stopping import Stopper, stopping
from components.engines.training.memory import recompute_blocks
from components.engines.training.observe.meter import Meter, shown
from components.engines.training.observe.profiler import Profiler
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.parallel.whole import Whole
from components.engines.training.params import Training, micro_batch_size
from components.engines.training.precision import check_precision, numerics
from components.engines.training.rollout import roll_out
from components.engines.training.run import Observer, Run
from components.engines.training.schedule import learning_rate
from components.engines.training.scores import score
from components.engines.training.state import Row
from components.engines.training.task import Task, check_task, rolls_out
from components.engines.training.turns import (
    Player,
    add_gradients,
    loss_scales,
    make_players,
    move,
    over_repeats,
    own_name,
    own_rates,
    require_gradients_of,
    without_skipped,
)


def fit(
    make_task: Callable[[], Task], training: Training, *, work: Path, ranks: Ranks, observer: Observer | None = None
) -> Fit:
    """Train to the end, from the newest sound checkpoint in `work` if there is one. Every rank calls it.

    A finished fit in `work` returns at once. Raises UsageError before anything starts (sizes or a layout that do not fit, a
    checkpoint of other settings), StageError later (a loss that is not finite, a full disk), and Stopped when told to
    stop or when the budget is spent; checkpoints stay.
    """
    micro_batch_size(training, ranks.world)
    finished = finished_fit(work, training)
    if finished is not None:
        return finished
    check_precision(training, ranks.device)
    with (
        absentees_named(training, work, ranks),
        stopping(training, work, ranks) as stopper,
        numerics(training),
        compilation(training, ranks.device),
    ):
        run = _start(make_task, training, work, ranks, observer, stopper)
        try:
            _train(run)
        finally:
            run.saver.close()
        if ranks.is_first:
            saved_run.finish(run)
        ranks.barrier()
    finished = finished_fit(work, training)
    if finished is None:
        raise StageError(
            "The finished fit cannot be read back",
            where=str(work),
            do="all ranks must see the same work folder: put it on a file system they share",
        )
    return finished


# ---------------------------------------------------------------------------------------------------------- start


def _start(
    make_task: Callable[[], Task],
    training: Training,
    work: Path,
    ranks: Ranks,
    observer: Observer | None,
    stopper: Stopper,
) -> Run:
    ranks = ranks.arranged(training.layout)
    task = _build(make_task, training)
    check_task(task, training)
    frozen = frozen_part(task)
    recompute_blocks(task, training)
    compile_modules(task, training)
    place(task, ranks)
    run = Run(
        task,
        training,
        ranks,
        work,
        observer,
        players=make_players(task, training, ranks),
        ema=Ema(learnt_tensors(task.modules, frozen.names), training.ema_decay)
        if training.ema_decay is not None
        else None,
        saver=BackgroundWriter(work / "checkpoints", training, ranks),
        stopper=stopper,
        meter=Meter(task, training, ranks),
        frozen=frozen,
        whole=Whole(partial(_build, make_task, training), ranks) if ranks.ways.kind == "pipeline" else None,
    )
    limit_waiting(training, ranks)
    saved_run.resume(run)
    return run


def _build(make_task: Callable[[], Task], training: Training) -> Task:
    seed_everything(training.seed, "build")
    return make_task()


def place(task: Task, ranks: Ranks) -> None:
    """Modules to the device; those that learn in training mode (hub models come in eval mode), the others not."""
    trained = {id(parameter) for turn in task.turns for parameter in turn.parameters}
    for module in [*task.modules.values(), *task.frozen.values()]:
        module.to(ranks.device)
        module.train(any(id(parameter) in trained for parameter in module.parameters()))
        for parameter in module.parameters():
            parameter.requires_grad_(id(parameter) in trained)


# ----------------------------------------------------------------------------------------------------------- loop


def _train(run: Run) -> None:
    state, training = run.state, run.training
    with (
        Progress("Training", training.max_steps, initial=state.step, unit="steps") as progress,
        StepStream(run.task, training, run.ranks, state.step) as stream,
        Profiler(training.profile, run.work, run.ranks, run.observer, run.stopper.settle) as profiler,
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


def _step(run: Run, given: StepBatches) -> None:
    """All turns of one step, in order, each over all micro-batches."""
    training, ranks, step = run.training, run.ranks, given.step
    run.task.step = step
    if any(step == player.start_step > 0 for player in run.players):
        run.meter.count_flops()
    on_device = [to_device(batch, ranks.device) for batch in given.micro_batches]
    step_batches = replace(given, micro_batches=on_device)
    if rolls_out(run.task):
        with run.clock.part("rollout"):
            given = step_batches = roll_out(run.task, training, ranks, step_batches)
    with run.clock.part("communication"):
        weights = _global_weights(step_batches, ranks)
    figures: dict[str, Tensor] = {}
    for player, weight in zip(run.players, weights, strict=True):
        if step < player.start_step:
            continue
        figures |= _play(run, player, weight, step_batches)
    if run.ema is not None:
        with run.clock.part("optimizer"):
            run.ema.update(step)
    run.unread.append((given, figures))
    run.state.step = step + 1
    run.meter.end_step(step_batches.tokens)


def _play(run: Run, player: Player, weight: float | Tensor, step_batches: StepBatches) -> dict[str, Tensor]:
    """One turn's optimizer steps. Returns its figures: this rank's shares."""
    training, ranks, step = run.training, run.ranks, step_batches.step
    if len(run.players) > 1:
        require_gradients_of(player, run.players)
    repeats = []
    for repeat in range(player.turn.repeats):
        found = add_gradients(player, step_batches.micro_batches, weight, training, ranks, step, run.meter, repeat)
        shares = {f"{player.turn.name}_{name}": value for name, value in found.items()}
        if reads_before_move(ranks):
            require_finite(run, step_batches, shares)
        with run.clock.part("optimizer"):
            repeats.append(shares | move(player, run.players, step))
    means = over_repeats(repeats, ranks)
    return {name if name in shares else own_name(name, player, run.players): value for name, value in means.items()}


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
    stop = run.stopper.due(state.step)
    save_due = stop is not None or state.step % training.checkpoint_every == 0
    # Reading a figure waits for the device, and adding it up for the other ranks: only when it is needed.
    if row_due or save_due or reads_before_move(run.ranks):
        _read_figures(run)
    scores: Row = {}
    if scores_due:
        scores = score(run)
        save_due |= state.note_scores(scores, training) and training.selects_best
    if row_due:
        _add_row(run, scores)
    if save_due or state.is_over(training):
        with run.clock.part("checkpoint"):
            saved_run.save(run)
    if stop is not None and not state.is_over(training):
        raise stop


def _read_figures(run: Run) -> None:
    """Bring the figures of the steps since the last reading here, add them up over ranks, and check each."""
    if not run.unread:
        return
    names = list(dict.fromkeys(name for _, figures in run.unread for name in figures))
    none = torch.zeros((), dtype=torch.float64, device=run.ranks.device)  # of a turn that did not move yet
    table = torch.stack([torch.stack([figures.get(name, none) for name in names]) for _, figures in run.unread])
    with run.clock.part("communication"):
        table = run.ranks.sum(table)
    with run.clock.part("wait"):
        values = table.tolist()
    for (batches, found), row in zip(run.unread, values, strict=True):
        read = {name: value for name, value in zip(names, row, strict=True) if name in found}
        figures = without_skipped(read, run.players)
        require_finite(run, batches, figures)
        run.state.window.add(figures)
    run.unread.clear()


def _add_row(run: Run, scores: Row) -> None:
    """A row of the curve: means over the steps since the last row, and the scores of this step if there are any."""
    state = run.state
    rate = learning_rate(run.training, state.step - 1)
    row = {"step": state.step, **state.window.close(), "learning_rate": rate, **own_rates(run.players, state.step - 1)}
    row |= loss_scales(run.players)
    if row.keys() & scores.keys():
        raise UsageError(f"Scores and training figures share names: {sorted(row.keys() & scores.keys())}")
    row |= scores
    state.curve.append(row)
    measured = run.meter.read()  # on every rank: each reading starts its clock anew
    run.shown = shown(row, measured)
    if run.observer is not None and run.ranks.is_first:
        run.observer.log(state.step, {name: value for name, value in row.items() if name != "step"} | measured)
