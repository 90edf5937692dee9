"""Computes again the figures of a dumped step (dump.py), in one process, on whatever device it has.

    make_task = partial(components.<system>.<stage>.make_task, …)   # as the stage gave it to `launch`
    figures = replay(make_task, training, Path(".work/<stage>/<key>/dump-step-00001234"))

With the weights the loss saw, a figure comes out as it was: the draws of a step depend on its place alone. With those
of the checkpoint (dump.py says when), it tells data from weights: still not finite, the batch alone does it;
finite, it is what the weights became in the steps between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from components.engines.base.errors import StageError, UsageError
from components.engines.base.seeds import seed_everything
from components.engines.training import checkpoint
from components.engines.training.batches import to_device
from components.engines.training.dump import read_batches, read_dump
from components.engines.training.loop import place
from components.engines.training.meter import Meter
from components.engines.training.params import Training
from components.engines.training.precision import numerics
from components.engines.training.ranks import Ranks
from components.engines.training.state import Row
from components.engines.training.task import Task
from components.engines.training.turns import add_gradients, make_players, require_gradients_of
from components.engines.training.weights import load_module, module_tensors


def replay(make_task: Callable[[], Task], training: Training, dump: Path) -> Row:
    """Each turn's figures and the norm of its gradients (`<turn>_grad_norm`), over the batches of all ranks.

    Every turn starts from the dumped weights; nothing moves. In a run of several turns that is what the offending one
    saw. Raises UsageError for a dump of other settings.
    """
    about = read_dump(dump)
    if about["settings"] != training.identity():
        raise UsageError("This step was dumped by a run with other settings", where=str(dump))
    ranks = Ranks.single()
    figures: Row = {}
    with numerics(training):
        task = _task_as_dumped(make_task, training, ranks, dump)
        shares = [read_batches(dump, rank) for rank in range(about["world"])]
        players, meter = make_players(task, training, ranks), Meter(task, training, ranks)
        for player in players:
            require_gradients_of(player, players)
            weight = sum(player.turn.weight(batch) for batches in shares for batch in batches)
            found: dict[str, Tensor] = {}
            for rank, batches in enumerate(shares):
                there = replace(ranks, data_rank=rank)  # draws as that rank, without it
                on_device = [to_device(batch, ranks.device) for batch in batches]
                part = add_gradients(player, on_device, float(weight), training, there, about["step"], meter)
                found = {name: found[name] + value if name in found else value for name, value in part.items()}
            figures |= {f"{player.turn.name}_{name}": float(value) for name, value in found.items()}
            figures[f"{player.turn.name}_grad_norm"] = float(player.norm())
            player.optimizer.zero_grad()
    return figures


def _task_as_dumped(make_task: Callable[[], Task], training: Training, ranks: Ranks, dump: Path) -> Task:
    """The task with the weights of the dump, or of the checkpoint it stands on, or, before the first, the initial ones."""
    about = read_dump(dump)
    seed_everything(training.seed, "build")
    task = make_task()
    place(task, ranks)
    if about["weights"] == "before":
        for name, module in task.modules.items():
            load_module(module, dump / f"{name}.safetensors")
    elif about["checkpoint"] is not None:
        found = checkpoint.at(dump.parent / about["checkpoint"])
        if found is None:
            raise StageError("The checkpoint that this dump stands on is gone or damaged", where=str(dump))
        found.load({f"module.{name}": module_tensors(module) for name, module in task.modules.items()}, alone=True)
    return task
