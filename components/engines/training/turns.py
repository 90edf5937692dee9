"""One turn of one step: gradients of the mean loss over the true global batch, then the optimiser's move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from components.engines.training.draws import seed_place
from components.engines.training.observe.meter import Meter
from components.engines.training.parallel.arrange import arrange
from components.engines.training.parallel.gradients import (
    clip,
    gradient_norm,
    gradient_norm_of_stages,
    kinds_of,
    sum_gradients,
)
from components.engines.training.parallel.pipeline import Pipeline
from components.engines.training.parallel.pipeline import add_gradients as pipeline_gradients
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.parallel.sharded import sync_gradients
from components.engines.training.params import Training, TurnSettings
from components.engines.training.precision import autocast
from components.engines.training.scaling import Scaler, make_scaler
from components.engines.training.schedule import learning_rate
from components.engines.training.state import Row
from components.engines.training.task import Batch, Task, Turn

Loss = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]


class TurnLoss(nn.Module):
    """A turn's loss as a module with the turn's parameters: what data parallelism wraps.

    Wrapping the loss, not the networks, leaves a loss free to call any module, any method, any number of times (a GAN's
    discriminator sees two batches), and gives every turn gradient buckets of its own.
    """

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.trained = nn.ParameterList(turn.parameters)
        self.loss = turn.loss

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss(batch)


@dataclass
class Player:
    """A turn with what it needs to move."""

    turn: Turn
    training: Training  # with the turn's own settings
    start_step: int
    loss: Loss
    optimizer: torch.optim.Optimizer
    ranks: Ranks
    networks: list[nn.Module]
    scaler: Scaler | None  # under fp16
    pipeline: Pipeline | None

    def rate(self, step: int) -> float:
        return learning_rate(self.training, step, self.start_step)

    @property
    def averages(self) -> bool:
        """Whether gradients come out averaged over data ranks (DDP, FSDP2) and not summed."""
        return self.is_sharded or isinstance(self.loss, DistributedDataParallel)

    @property
    def is_sharded(self) -> bool:
        return any(isinstance(network, FSDPModule) for network in self.networks)

    def sync(self, last: bool) -> AbstractContextManager[object]:
        """Gradients cross ranks once a step: with the last micro-batch."""
        if self.is_sharded:
            sync_gradients(self.networks, last)
        if isinstance(self.loss, DistributedDataParallel) and not last:
            return self.loss.no_sync()
        return nullcontext()

    def gather(self) -> None:
        """After the last micro-batch, where no wrapper did it: sum over stages what stands on all, then over data ranks."""
        mesh, kind = self.ranks.mesh, self.ranks.ways.kind
        if mesh is None or kind not in {"tensor", "pipeline"}:
            return
        if self.pipeline is not None:
            sum_gradients(self.pipeline.stage.shared, self.pipeline.group)
        if self.ranks.ways.data > 1:
            sum_gradients(self.turn.parameters, mesh.get_group("data"))

    def norm(self) -> Tensor:
        if self.pipeline is None:
            return gradient_norm(self.turn.parameters)
        shared = {id(parameter) for parameter in self.pipeline.stage.shared}
        own = [parameter for parameter in self.turn.parameters if id(parameter) not in shared]
        return gradient_norm_of_stages(self.pipeline.stage.shared, own, self.pipeline.group)


def make_players(task: Task, training: Training, ranks: Ranks) -> list[Player]:
    """Arrange the task's networks as the layout says; one player per turn."""
    pipelines = arrange(task, training, ranks)
    networks = list(task.modules.values())
    return [
        Player(
            turn,
            training.of_turn(turn.name),
            training.turns.get(turn.name, TurnSettings()).start_step,
            _loss_of(turn, training, ranks),
            make_optimizer(turn.parameters, training.of_turn(turn.name), ranks),
            ranks,
            networks,
            make_scaler(turn.name, training, ranks.device),
            pipelines.get(turn.name),
        )
        for turn in task.turns
    ]


def _loss_of(turn: Turn, training: Training, ranks: Ranks) -> Loss:
    kind = ranks.ways.kind
    if ranks.world == 1 or not (kind == "data" or (kind == "sharded" and training.layout.zero_stage == 1)):
        return turn.loss
    return DistributedDataParallel(TurnLoss(turn), find_unused_parameters=not turn.every_parameter_used)


def make_optimizer(parameters: list[nn.Parameter], training: Training, ranks: Ranks) -> torch.optim.Optimizer:
    """AdamW; decay falls on matrices only (Loshchilov & Hutter, arXiv:1711.05101; Radford et al., GPT-2, and since)."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [
        {"params": alike, "weight_decay": decay}
        for kind, decay in ((matrices, training.weight_decay), (vectors, 0.0))
        for alike in kinds_of(kind)
    ]
    settings = {
        "lr": training.learning_rate,
        "betas": training.adam_betas,
        "fused": training.optimizer == "fused",
        "foreach": training.optimizer == "foreach",
    }
    if ranks.mesh is not None and ranks.ways.kind == "sharded" and training.layout.zero_stage == 1:
        group = ranks.mesh.get_group("sharded")
        return ZeroRedundancyOptimizer(groups, torch.optim.AdamW, process_group=group, **settings)
    return torch.optim.AdamW(groups, **settings)


def require_gradients_of(player: Player, players: list[Player]) -> None:
    """Only the moving turn's parameters get gradients: the generator's move must not fill the discriminator's.

    FSDP2 settles which parameters get gradients when it first gathers them; there the others' are dropped afterwards.
    """
    if player.is_sharded:
        return
    for other in players:
        for parameter in other.turn.parameters:
            parameter.requires_grad_(False)
    for parameter in player.turn.parameters:
        parameter.requires_grad_(True)


def add_gradients(
    player: Player,
    batches: list[Batch],
    weight: float | Tensor,
    training: Training,
    ranks: Ranks,
    step: int,
    meter: Meter,
    repeat: int = 0,
) -> dict[str, Tensor]:
    """Backward through every micro-batch. Returns this rank's share of the mean loss and figures, as tensors.

    `weight` counts the units of the whole global batch. DDP and FSDP2 average over ranks, hence the factor `data_world`.
    """
    if player.pipeline is not None:
        with meter.clock.part("pipeline"):
            return pipeline_gradients(player.pipeline, batches, weight, training, ranks, step)
    shares: dict[str, Tensor] = {}
    scale = (ranks.data_world if player.averages else 1.0) / weight
    for number, batch in enumerate(batches):
        # A pure function of the position: a resumed step draws what the uninterrupted one drew.
        again = [f"repeat {repeat}"] if repeat else []
        seed_place(ranks.device, training.seed, step, player.turn.name, number, ranks.data_rank, *again)
        with player.sync(last=number == len(batches) - 1):
            with meter.forward(player.turn, player.loss, batch), autocast(training, ranks.device):
                loss, sums = player.loss(batch)
            mean = loss * scale
            meter.backward(mean if player.scaler is None else player.scaler.scale(mean))
        for name, total in {"loss": loss, **sums}.items():
            share = total.detach().double() / weight
            shares[name] = shares[name] + share if name in shares else share
    return shares


def move(player: Player, players: list[Player], step: int) -> dict[str, Tensor]:
    """Bring the gradients together, clip and step. Returns this rank's share of figures that are equal on every rank.

    They are `grad_norm` before clipping and, under fp16, `skipped_steps`: 1 if the gradients overflowed and nothing
    moved, else 0; the norm is then given as 0, and counts for nothing.
    """
    scaler, ranks = player.scaler, player.ranks
    player.gather()
    overflow = None if scaler is None else scaler.unscale(player.optimizer, ranks)
    norm = player.norm()
    if player.training.clip_norm is not None:
        clip(player.turn.parameters, player.training.clip_norm, norm)
    for group in player.optimizer.param_groups:
        group["lr"] = player.rate(step)
    if scaler is None:
        player.optimizer.step()
    else:
        scaler.step(player.optimizer)
    for one in players if player.is_sharded else [player]:
        one.optimizer.zero_grad()
    norm = norm.double() / ranks.data_world
    if overflow is None:
        return {"grad_norm": norm}
    return {"grad_norm": torch.where(overflow > 0, 0.0, norm), "skipped_steps": overflow / ranks.data_world}


def over_repeats(repeats: list[dict[str, Tensor]], ranks: Ranks) -> dict[str, Tensor]:
    """Figures of a turn over its repeats: means, of the gradient norm over the steps taken; skipped steps are counted."""
    if len(repeats) == 1:
        return repeats[0]
    sums = {name: torch.stack([one[name] for one in repeats]).sum(0) for name in repeats[0]}
    figures = {name: total / len(repeats) for name, total in sums.items()}
    if "skipped_steps" in sums:
        made = len(repeats) - sums["skipped_steps"] * ranks.data_world
        figures |= {"grad_norm": sums["grad_norm"] / made.clamp(min=1), "skipped_steps": sums["skipped_steps"]}
    return figures


def own_rates(players: list[Player], step: int) -> Row:
    """The learning rates of step `step` of the turns that have settings of their own and move already."""
    return {
        f"{p.turn.name}_learning_rate": p.rate(step)
        for p in players
        if p.turn.name in p.training.turns and p.start_step <= step
    }


def own_name(figure: str, player: Player, players: list[Player]) -> str:
    """A figure of the move under the turn's name, where there are several turns."""
    return figure if len(players) == 1 else f"{player.turn.name}_{figure}"


def without_skipped(figures: Row, players: list[Player]) -> Row:
    """Figures of a step, added up over ranks: one whose every move was skipped has no gradient norm.

    All others must be finite, under fp16 as elsewhere: no scale cures a loss that overflows, or is none.
    """
    for player in players:
        skipped = own_name("skipped_steps", player, players)
        if skipped in figures:
            figures[skipped] = round(figures[skipped])
            if figures[skipped] == player.turn.repeats:
                del figures[own_name("grad_norm", player, players)]
    return figures


def loss_scales(players: list[Player]) -> Row:
    """The scales as they are now, under fp16. Raises StageError if one has collapsed."""
    return {own_name("loss_scale", p, players): p.scaler.size() for p in players if p.scaler is not None}
