"""This process's place among the processes that train together; no Ray here, plain torchrun will do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Rank of `world` processes and its device. With one process every collective is free."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def single(cls, device: torch.device | None = None) -> Ranks:
        return cls(0, 1, device or _own_device())

    @classmethod
    def from_process_group(cls) -> Ranks:
        """The initialised default group; under torchrun's environment it is initialised first; else one process."""
        if not dist.is_initialized():
            if "WORLD_SIZE" not in os.environ or "MASTER_ADDR" not in os.environ:
                return cls.single()
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), _own_device())

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up over ranks, in place; returns the tensor."""
        if self.world > 1:
            dist.all_reduce(tensor)
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


def _own_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
