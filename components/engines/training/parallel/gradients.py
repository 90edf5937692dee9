"""Gradients that live in pieces: bringing them together over processes, their norm, and clipping by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

BUCKET = 25 * 2**20  # bytes summed in one message, as in torch's DistributedDataParallel


def is_spread(tensor: Tensor) -> bool:
    """Whether processes hold pieces of it and not each all of it."""
    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """What of a tensor is on this process: its shard, or all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sum_gradients(parameters: Iterable[nn.Parameter], group: dist.ProcessGroup) -> None:
    """Add up the gradients over the group, in place; one that a process has none of counts as zero there."""
    bucket: list[Tensor] = []
    size = 0
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        bucket.append(local(parameter.grad))
        size += bucket[-1].nbytes
        if size >= BUCKET:
            _sum(bucket, group)
            bucket, size = [], 0
    _sum(bucket, group)


def _sum(tensors: list[Tensor], group: dist.ProcessGroup) -> None:
    by_type: defaultdict[torch.dtype, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        by_type[tensor.dtype].append(tensor)
    for alike in by_type.values():
        flat = torch.cat([tensor.flatten() for tensor in alike])
        dist.all_reduce(flat, group=group)
        pieces = flat.split([tensor.numel() for tensor in alike])
        torch._foreach_copy_(alike, [piece.view_as(tensor) for piece, tensor in zip(pieces, alike, strict=True)])


def kinds_of(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters by how they are spread: torch's fused and foreach functions take one kind at a time."""
    kinds: defaultdict[object, list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        kinds[_spread(parameter)].append(parameter)
    return list(kinds.values())


def _spread(tensor: Tensor) -> object:
    return (tensor.device_mesh, tensor.placements) if isinstance(tensor, DTensor) else None


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together, equal on every process that holds a share of them."""
    norms = []
    for alike in kinds_of(parameters):
        norm = nn.utils.get_total_norm([parameter.grad for parameter in alike if parameter.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm()


def gradient_norm_of_stages(shared: list[nn.Parameter], own: list[nn.Parameter], group: dist.ProcessGroup) -> Tensor:
    """The 2-norm over all pipeline stages: `shared` parameters stand on each of them and count once."""
    square = gradient_norm(own).square()
    dist.all_reduce(square, group=group)
    return (square + gradient_norm(shared).square()).sqrt() if shared else square.sqrt()


def clip(parameters: list[nn.Parameter], clip_norm: float, norm: Tensor) -> None:
    for alike in kinds_of(parameters):
        nn.utils.clip_grads_with_norm_(alike, clip_norm, norm)
