"""Pipeline parallelism of a network as it is: blocks that another stage owns are replaced, the rest is left alone.

Every stage calls the network's own forward on the same batch. Blocks before its own are skipped, with the activations it
received put in their place, and at the first block after its own the forward is left. So embeddings, conditioning and heads,
tied or not, need no code per family: they stand on every stage, only those a stage uses get gradients there, and these are
added up over stages. The schedules and the sending are torch.distributed.pipelining's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from components.engines.base.errors import StageError, UsageError
from components.engines.training.draws import seed_place
from components.engines.training.parallel.blocks import Chain, chains_of
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from components.engines.training.precision import autocast
from components.engines.training.task import Batch, Pieces

Precision = Callable[[], AbstractContextManager[object]]  # what forward passes run under


class _Left(Exception):
    """The forward reached the first block of the next stage, with these hidden states."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class _Skip(nn.Module):
    """Stands for a block of an earlier stage."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden


class _Inject(nn.Module):
    """Stands for the first block of a chain that earlier stages began: gives what they sent."""

    received: Tensor | None = None

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        assert self.received is not None
        return self.received


class _Leave(nn.Module):
    """Stands for the first block of the next stage."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        raise _Left(hidden)


def owned_blocks(lengths: list[int], stage: int, stages: int) -> tuple[int, int]:
    """First and last (exclusive) block of a stage, counting through all chains; the earlier stages take the rest."""
    total = sum(lengths)
    if total < stages:
        raise UsageError(
            f"A network of {total} blocks cannot be cut into {stages} pipeline stages",
            where="training.layout.pipeline",
            do=f"use at most {total} stages",
        )
    size, rest = divmod(total, stages)
    first = stage * size + min(stage, rest)
    return first, first + size + (stage < rest)


class Stage(nn.Module):
    """The network with this stage's blocks only. Takes what the stage before sent, gives what the next one needs.

    Between stages travel the outputs of the chains finished so far and the hidden states of the one under way.
    """

    def __init__(self, network: nn.Module, pieces: Pieces, stage: int, stages: int, precision: Precision) -> None:
        super().__init__()
        self.network, self.pieces, self.precision = network, pieces, precision
        self.injects: list[_Inject] = []
        self.finished: dict[str, Tensor] = {}
        chains = chains_of(network)
        self.first, self.last = owned_blocks([len(chain.blocks) for chain in chains], stage, stages)
        self.sends_hidden = False
        inside = {id(parameter) for chain in chains for parameter in chain.blocks.parameters()}
        # what stands on every stage: embeddings, conditioning, heads
        self.shared = [p for p in network.parameters() if p.requires_grad and id(p) not in inside]
        begin = 0
        for chain in chains:
            self._cut(chain, begin, begin + len(chain.blocks))
            begin += len(chain.blocks)

    def _cut(self, chain: Chain, begin: int, end: int) -> None:
        """Replace the blocks that this stage does not own, of a chain whose blocks are numbered `begin` … `end - 1`."""
        blocks = chain.blocks
        if begin < self.last < end:
            self.sends_hidden = True
        for number in range(begin, end):
            if number < self.first:
                blocks[number - begin] = _Skip()
            elif number >= self.last:
                blocks[number - begin] = _Leave()
        if begin < self.first:
            inject = _Inject()
            blocks[0] = inject
            self.injects.append(inject)
        if end <= self.last:  # finished here or before: later stages may need its output
            last = blocks[0] if end <= self.first else blocks[-1]
            last.register_forward_hook(lambda *given: self._finish(chain.name, given[-1]))

    def _finish(self, chain: str, output: Tensor) -> None:
        self.finished[chain] = output

    def forward(self, *received: Tensor, **batch: Tensor) -> Any:
        for inject, tensor in zip(self.injects, received, strict=True):
            inject.received = tensor
        try:
            with self.precision():
                return self.pieces.forward(self.network, batch)
        except _Left as left:
            return (*self.finished.values(), *([left.hidden] if self.sends_hidden else []))
        finally:
            self.finished.clear()


@dataclass
class Pipeline:
    """One turn's stage on this process and the schedule that runs it over the micro-batches of a step."""

    stage: Stage
    pieces: Pieces
    schedule: Any
    stages: int
    group: dist.ProcessGroup
    batches: list[Batch] = field(default_factory=list)
    scale: float | Tensor = 1.0
    heard: list[dict[str, Tensor]] = field(default_factory=list)  # loss and sums of each micro-batch, on the last stage
    figures: list[str] = field(default_factory=list)  # their names

    @property
    def is_last(self) -> bool:
        return self.group.rank() == self.stages - 1

    def loss_of(self, output: Tensor, number: Tensor) -> Tensor:
        with self.stage.precision():
            loss, sums = self.pieces.loss(output, self.batches[int(number)])
        self.heard.append({name: total.detach() for name, total in {"loss": loss, **sums}.items()})
        return loss * self.scale


def make_pipeline(network: nn.Module, pieces: Pieces, training: Training, ranks: Ranks) -> Pipeline:
    """Cut the network in place, down to this process's stage."""
    assert ranks.mesh is not None
    mesh = ranks.mesh["pipeline"]
    stages, stage = mesh.size(), mesh.get_local_rank()
    if training.layout.schedule == "1f1b" and training.accumulation_steps < stages:
        raise UsageError(
            f"accumulation_steps {training.accumulation_steps} cannot fill {stages} pipeline stages one forward, one backward",
            where="training.layout.schedule",
            do=f"set accumulation_steps to {stages} or more, or schedule: gpipe",
        )
    cut = Stage(network, pieces, stage, stages, partial(autocast, training, ranks.device))
    place = PipelineStage(cut, stage, stages, ranks.device, group=mesh.get_group())
    pipeline = Pipeline(cut, pieces, None, stages, mesh.get_group())
    kind = Schedule1F1B if training.layout.schedule == "1f1b" else ScheduleGPipe
    pipeline.schedule = kind(place, training.accumulation_steps, loss_fn=pipeline.loss_of, scale_grads=False)
    return pipeline


def add_gradients(
    pipeline: Pipeline, batches: list[Batch], weight: float | Tensor, training: Training, ranks: Ranks, step: int
) -> dict[str, Tensor]:
    """Run all micro-batches through the stages. Returns this replica's share of the figures, on every stage."""
    pipeline.batches, pipeline.scale = batches, 1.0 / weight
    pipeline.heard.clear()
    seed_place(ranks.device, training.seed, step, pipeline.pieces.module, ranks.data_rank, pipeline.stage.first)
    whole = {name: torch.cat([batch[name] for batch in batches]) for name in _equal_names(batches)}
    numbers = torch.arange(len(batches), device=ranks.device) if pipeline.is_last else None
    pipeline.schedule.step(target=numbers, return_outputs=False, **whole)
    del pipeline.heard[: -len(batches)]  # the first step begins with a rehearsal, from which stages learn shapes
    return _shares(pipeline, weight, ranks)


def _equal_names(batches: list[Batch]) -> list[str]:
    """The tensors of the batches. Raises StageError if the micro-batches differ in shape: stages expect what they saw first."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in batch.items()} for batch in batches]
    if any(other != shapes[0] for other in shapes):
        raise StageError(
            f"A pipeline needs micro-batches of one shape, these differ: {shapes}",
            do="pad every sample to a fixed length in Task.batch",
        )
    return list(shapes[0])


def _shares(pipeline: Pipeline, weight: float | Tensor, ranks: Ranks) -> dict[str, Tensor]:
    """Loss and sums over the micro-batches by the weight of the step; the last stage knows them and tells the others."""
    if not pipeline.figures:  # what the loss reports is the same in every step
        box = [list(pipeline.heard[0]) if pipeline.is_last else None]
        dist.broadcast_object_list(box, group=pipeline.group, group_src=pipeline.stages - 1)
        pipeline.figures = list(box[0] or [])
    table = torch.zeros(len(pipeline.figures), dtype=torch.float64, device=ranks.device)
    for one in pipeline.heard:
        table += torch.stack([one[name].double() for name in pipeline.figures]) / weight
    dist.broadcast(table, group=pipeline.group, group_src=pipeline.stages - 1)
    return dict(zip(pipeline.figures, table, strict=True))
