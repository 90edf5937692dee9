"""What of a task's networks does not learn: it is not saved, and whoever goes on from a checkpoint must have the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.engines.training.checkpoints.weights import digest_tensors, module_tensors, parameter_names
from components.engines.training.task import Task


@dataclass(frozen=True)
class Frozen:
    """Parameters that no turn trains, as `<module>.<parameter>`, and by network the digest of those it has."""

    names: frozenset[str] = frozenset()
    digests: dict[str, str] = field(default_factory=dict)


def frozen_part(task: Task) -> Frozen:
    """Called before the networks are arranged, when each process holds them whole."""
    trained = {id(parameter) for turn in task.turns for parameter in turn.parameters}
    names = frozenset(name for key, name in parameter_names(task.modules).items() if key not in trained)
    digests = {name: digest_tensors(module_tensors(module)) for name, module in task.frozen.items()}
    for module, network in task.modules.items():
        held = {name: tensor for name, tensor in module_tensors(network).items() if f"{module}.{name}" in names}
        if held:
            digests[module] = digest_tensors(held)
    return Frozen(names, digests)
