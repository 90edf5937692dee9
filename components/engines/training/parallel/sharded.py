"""Sharded data parallelism: FSDP2 block by block (ZeRO 2 and 3), or optimiser state alone (ZeRO 1)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from components.engines.base.errors import UsageError
from components.engines.training.parallel.blocks import repeated_blocks


def shard_network(network: nn.Module, mesh: DeviceMesh, *, reshard_after_forward: bool) -> None:
    """Shard parameters over the mesh's last dimension (replicating over an earlier one), in place, under the same names.

    Each repeated block is gathered as a whole just before it runs; what is outside of blocks forms one more group.

    Raises UsageError for a parameter without dimensions, of which FSDP2 can make no shards.
    """
    scalars = [name for name, parameter in network.named_parameters() if parameter.ndim == 0]
    if scalars:
        raise UsageError(
            f"{type(network).__name__} has parameters that cannot be sharded, since they are scalars: {', '.join(scalars)}",
            where="training.layout.zero_stage",
            do="use zero_stage 1 or data",
        )
    for module in [*repeated_blocks(network), network]:
        fully_shard(module, mesh=mesh, reshard_after_forward=reshard_after_forward)


def sync_gradients(networks: list[nn.Module], last: bool) -> None:
    """Reduce gradients with the last micro-batch only; before it they add up unsharded."""
    for network in networks:
        if isinstance(network, FSDPModule):
            network.set_requires_gradient_sync(last)
            network.set_is_last_backward(last)


def forget_gathered(networks: Iterable[nn.Module]) -> None:
    """Drop whole copies of parameters that a pass without backward left: the shards may change before the next one."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
