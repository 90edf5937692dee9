"""A task's networks, arranged in place as the layout says."""

from __future__ import annotations

from dataclasses import replace

from components.engines.base.errors import UsageError
from components.engines.training.checkpoints.weights import parameter_names
from components.engines.training.parallel.pipeline import Pipeline, make_pipeline
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.parallel.sharded import shard_network
from components.engines.training.parallel.tensor import split_matrices
from components.engines.training.params import Training
from components.engines.training.task import Task, Turn, rolls_out


def arrange(task: Task, training: Training, ranks: Ranks) -> dict[str, Pipeline]:
    """Shard, split or cut the task's networks, and give its turns the parameters that this process now holds.

    Returns the pipeline of each turn that has one. Raises UsageError for a network or task that the layout does not fit.
    """
    if ranks.mesh is None:
        return {}
    trained = trained_names(task)
    pipelines: dict[str, Pipeline] = {}
    match ranks.ways.kind:
        case "sharded" if training.layout.zero_stage > 1:
            for network in task.modules.values():
                shard_network(network, ranks.mesh, reshard_after_forward=training.layout.zero_stage == 3)
        case "tensor":
            for network in task.modules.values():
                split_matrices(network, ranks.mesh["tensor"])
        case "pipeline":
            pipelines = {turn.name: _cut(task, turn, training, ranks) for turn in task.turns}
        case _:
            return {}
    held = {
        f"{module}.{name}": parameter
        for module, network in task.modules.items()
        for name, parameter in network.named_parameters()
    }
    task.turns = [
        replace(turn, parameters=[held[name] for name in trained[turn.name] if name in held]) for turn in task.turns
    ]
    return pipelines


def trained_names(task: Task) -> dict[str, list[str]]:
    """The names of each turn's parameters: they outlast a change of layout, the parameters do not."""
    names = parameter_names(task.modules)
    return {turn.name: [names[id(parameter)] for parameter in turn.parameters] for turn in task.turns}


def _cut(task: Task, turn: Turn, training: Training, ranks: Ranks) -> Pipeline:
    several = len(task.turns) > 1 or len(task.modules) > 1 or turn.repeats > 1
    if turn.pieces is None or several or rolls_out(task):
        raise UsageError(
            f"{type(task).__name__} cannot be cut into a pipeline: that takes one network, and one turn with `pieces`",
            where="training.layout.pipeline",
            do="use data, sharded or tensor",
        )
    return make_pipeline(task.modules[turn.pieces.module], turn.pieces, training, ranks)
