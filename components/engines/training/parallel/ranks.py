"""This process's place among the processes that train together; no Ray here, plain torchrun will do."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from components.engines.nn.device import own_device
from components.engines.training.parallel.layout import Layout, Ways, settle


@dataclass(frozen=True)
class Ranks:
    """Rank of `world` processes and its device, and its place in the layout. With one process every collective is free.

    `data_rank` of `data_world` says which share of each batch this process trains on: peers of a tensor or pipeline group
    share theirs. `mesh` has the dimensions `data` and the layout's kind.
    """

    rank: int
    world: int
    device: torch.device
    ways: Ways = field(default_factory=lambda: Ways(1, 1, 1, 1))
    mesh: DeviceMesh | None = None
    data_rank: int = 0
    data_world: int = 1

    @classmethod
    def single(cls, device: torch.device | None = None) -> Ranks:
        return cls(0, 1, device or own_device())

    @classmethod
    def from_process_group(cls) -> Ranks:
        """The initialised default group; under torchrun's environment it is initialised first; else one process."""
        if not dist.is_initialized():
            if "WORLD_SIZE" not in os.environ or "MASTER_ADDR" not in os.environ:
                return cls.single()
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), own_device())

    def arranged(self, layout: Layout) -> Ranks:
        """The same process with its place in the layout. Every rank calls it. Raises UsageError if the layout does not fit."""
        ways = settle(layout, self.world)
        if self.world == 1:
            return self
        shape = (ways.data, self.world // ways.data)
        kind = ways.kind if ways.kind != "data" else "single"
        mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("data", kind))
        data_rank = self.rank if ways.kind == "sharded" else mesh.get_local_rank("data")
        return replace(self, ways=ways, mesh=mesh, data_rank=data_rank, data_world=ways.batches)

    @property
    def leads_peers(self) -> bool:
        """Whether it speaks for the processes that train on the same samples."""
        return self.mesh is None or self.ways.batches == self.world or self.mesh.get_local_rank(self.ways.kind) == 0

    def in_pieces(self, layout: Layout) -> bool:
        """Whether no process holds a network whole: each pass through one then takes all of them."""
        return self.ways.kind == "tensor" or (self.ways.kind == "sharded" and layout.zero_stage > 1)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up over data ranks, in place; returns the tensor. Peers that share their samples must hold equal values."""
        if self.world > 1:
            dist.all_reduce(tensor)
            tensor /= self.world // self.data_world
        return tensor

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank (small Python objects; the others' argument is ignored)."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def broadcast_tensor(self, tensor: Tensor) -> None:
        """Rank 0's contents, written into every rank's tensor."""
        if self.world > 1:
            dist.broadcast(tensor, src=0)

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()
