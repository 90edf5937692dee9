"""The layout of a fit over its workers, as params: how many ways each kind of parallelism splits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from components.engines.base.errors import UsageError
from components.engines.base.params import Params, Positive


class Layout(Params):
    """Ways of each kind; their product is the number of workers, and `data: auto` takes what the others leave.

    `data` replicates the model (DDP), `sharded` splits parameters, gradients and optimiser state (FSDP2, arXiv:2304.11277)
    as far as `zero_stage` says (ZeRO, arXiv:1910.02054), `tensor` splits matrices inside a layer (Megatron, arXiv:1909.08053),
    `pipeline` splits the sequence of layers (GPipe, arXiv:1811.06965; 1F1B, arXiv:1806.03377), one micro-batch per
    accumulation step.
    Only `data` may be combined with one of the others.
    """

    data: Literal["auto"] | Positive = "auto"
    sharded: Positive = 1
    tensor: Positive = 1
    pipeline: Positive = 1
    zero_stage: Literal[1, 2, 3] = Field(
        3,
        description="of sharded: 3 shards everything, 2 keeps parameters whole from forward to backward, 1 optimiser only",
    )
    schedule: Literal["gpipe", "1f1b"] = Field("1f1b", description="of pipeline")

    @property
    def splits_networks(self) -> bool:
        return max(self.sharded, self.tensor, self.pipeline) > 1


@dataclass(frozen=True)
class Ways:
    """A layout with its numbers settled for a world size."""

    data: int
    sharded: int
    tensor: int
    pipeline: int

    @property
    def batches(self) -> int:
        """How many processes train on different samples."""
        return self.data * self.sharded

    @property
    def kind(self) -> Literal["data", "sharded", "tensor", "pipeline"]:
        """What it does besides replicating."""
        if self.sharded > 1:
            return "sharded"
        if self.tensor > 1:
            return "tensor"
        return "pipeline" if self.pipeline > 1 else "data"


def settle(layout: Layout, world: int) -> Ways:
    """The ways for `world` processes. Raises UsageError, with the numbers, for a layout that does not fit them."""
    kinds = {name: getattr(layout, name) for name in ("sharded", "tensor", "pipeline") if getattr(layout, name) > 1}
    if len(kinds) > 1:
        raise UsageError(
            f"layout combines {' and '.join(f'{name}: {ways}' for name, ways in kinds.items())}",
            where="training.layout",
            do="combine data with one of sharded, tensor and pipeline only",
        )
    ways = next(iter(kinds.values()), 1)
    data = layout.data if layout.data != "auto" else max(world // ways, 1)
    if data * ways != world:
        named = " × ".join(f"{name} {count}" for name, count in {"data": data, **kinds}.items())
        raise UsageError(
            f"layout {named} = {data * ways} does not make up the {world} workers there are",
            where="training.layout",
            do=f"set num_workers to {data * ways}, or make the product {world}",
        )
    return Ways(data, layout.sharded, layout.tensor, layout.pipeline)
