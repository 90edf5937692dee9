"""What a run writes and reads back: checkpoints of its whole state, and its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.final import Fit, read_fit, write_fit
from components.engines.training.checkpoints.store import Checkpoint, Groups
from components.engines.training.checkpoints.weights import (
    empty_optimizer_tensors,
    learnt_tensors,
    load_optimizer,
    optimizer_tensors,
    parameter_names,
)
from components.engines.training.parallel.gradients import is_spread
from components.engines.training.params import Training
from components.engines.training.run import Run
from components.engines.training.state import State


def finished_fit(work: Path, training: Training) -> Fit | None:
    """The fit that ended in `work`, or None. Raises UsageError if it was one of other settings."""
    found = read_fit(work)
    if found is None:
        return None
    done, settings = found
    check_settings(settings, training, work)
    return done


def check_settings(saved: dict[str, Any], training: Training, work: Path) -> None:
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


def save(run: Run) -> None:
    """Save this step. Buffers follow rank 0 first, so that going on and resuming from here are the same."""
    if run.ranks.world > 1 and run.ranks.ways.kind != "pipeline":
        for module in run.task.modules.values():
            for buffer in module.buffers():
                run.ranks.broadcast_tensor(buffer)
    keep = [run.state.best_step] if run.training.selects_best else []
    run.state.scalers = {p.turn.name: p.scaler.as_dict() for p in run.players if p.scaler is not None}
    state = {"run": run.state.as_dict(), "settings": run.training.identity(), "frozen": run.frozen.digests}
    run.saver.save(run.state.step, _share(run), state, keep)


def _share(run: Run) -> Groups:
    """What this rank writes. Averages of buffers differ by rank: what is not sharded is written as the first has it."""
    names = parameter_names(run.task.modules)
    groups = _weights(run)
    if run.ranks.data_rank > 0:
        groups = {group: {n: t for n, t in tensors.items() if is_spread(t)} for group, tensors in groups.items()}
    return groups | {
        f"optimizer.{player.turn.name}": optimizer_tensors(player.optimizer, names) for player in run.players
    }


def _weights(run: Run) -> Groups:
    """What the networks learn and its averages, live: as checkpoints group them."""
    learnt = learnt_tensors(run.task.modules, run.frozen.names)
    groups = {f"module.{name}": tensors for name, tensors in learnt.items()}
    if run.ema is not None:
        groups |= {f"ema.{name}": tensors for name, tensors in run.ema.shadow.items()}
    return groups


def resume(run: Run) -> None:
    """Go on from the newest sound checkpoint, if there is one. Every rank loads what the first rank found sound."""
    found = store.newest(run.checkpoints) if run.ranks.is_first else None
    found = run.ranks.broadcast(found)
    if found is not None:
        check_settings(found.state["settings"], run.training, run.work)
        _check_frozen(found.state["frozen"], run)
        load(run, found)


def _check_frozen(saved: dict[str, str], run: Run) -> None:
    now = run.frozen.digests
    changed = sorted(name for name in {*saved, *now} if saved.get(name) != now.get(name))
    if changed:
        raise UsageError(
            f"The checkpoint was trained on other frozen parameters: those of {', '.join(changed)} differ",
            where=str(run.work),
            do="load the base that training began with, or delete the work folder and train again",
        )


def load(run: Run, found: Checkpoint) -> None:
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


def finish(run: Run) -> None:
    """Publish the selected weights: averaged ones when EMA is on, the best ones when asked for. The first rank calls it."""
    state, training = run.state, run.training
    step, scores = state.step, state.scores
    if training.selects_best and state.best_step is not None:
        step, scores = state.best_step, state.best_scores
    source = store.read(run.checkpoints, step)
    if source is None:
        raise StageError(
            f"The checkpoint of step {step}, whose weights were selected, is gone or damaged",
            where=str(run.checkpoints),
            do="delete the work folder and train again",
        )
    kind = "ema" if run.ema is not None else "module"
    weights = {name: source.whole(f"{kind}.{name}") for name in run.task.modules}
    figures = {"step": step, "curve": state.curve, "scores": scores, "settings": training.identity()}
    write_fit(run.work, figures, weights, run.frozen.digests)
