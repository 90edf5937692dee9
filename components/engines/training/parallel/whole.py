"""The networks of a pipeline put together again on the first process: scoring needs them whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist

from components.engines.training.checkpoints.weights import Tensors, module_tensors
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.task import Task


class Whole:
    """A second copy of the task on the first rank, filled with the stages' tensors each time it is asked for."""

    def __init__(self, make_task: Callable[[], Task], ranks: Ranks) -> None:
        assert ranks.mesh is not None
        self.ranks, self.group = ranks, ranks.mesh.get_group("pipeline")
        self.is_mine = ranks.mesh.get_local_rank("data") == 0  # one replica is enough
        self.task = make_task() if ranks.is_first else None
        if self.task is not None:
            for module in [*self.task.modules.values(), *self.task.frozen.values()]:
                module.to(ranks.device)

    def filled(self, stages: dict[str, Tensors]) -> Task | None:
        """The task with the tensors of all stages, on the first rank; None elsewhere. Every rank calls it."""
        if not self.is_mine:
            return None
        for name, held in stages.items():
            tensors = collect(held, self.group)
            if self.task is not None:
                own = module_tensors(self.task.modules[name])
                with torch.no_grad():
                    for key, tensor in tensors.items():
                        own[key].copy_(tensor)
        return self.task


def collect(tensors: Tensors, group: dist.ProcessGroup) -> Tensors:
    """On the group's first process: its own tensors and those it lacks, from whichever process has them."""
    held: list[dict[str, tuple[torch.Size, torch.dtype]]] = [{} for _ in range(group.size())]
    dist.all_gather_object(held, {name: (t.shape, t.dtype) for name, t in tensors.items()}, group=group)
    known = dict(tensors)
    for rank in range(1, group.size()):
        for name in sorted(held[rank].keys() - {name for earlier in held[:rank] for name in earlier}):
            if group.rank() == rank:
                dist.send(tensors[name].detach().contiguous(), group=group, group_dst=0)
            elif group.rank() == 0:
                shape, dtype = held[rank][name]
                known[name] = torch.empty(shape, dtype=dtype, device=next(iter(tensors.values())).device)
                dist.recv(known[name], group=group, group_src=rank)
    return known
