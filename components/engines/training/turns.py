"""One turn of one step: gradients of the mean loss over the true global batch, then the optimiser's move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from components.engines.training.draws import seed_place
from components.engines.training.meter import Meter
from components.engines.training.params import Training
from components.engines.training.precision import autocast
from components.engines.training.ranks import Ranks
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
    loss: Loss
    optimizer: torch.optim.Optimizer

    def sync(self, last: bool) -> AbstractContextManager[object]:
        """Gradients cross ranks once a step: with the last micro-batch."""
        if last or not isinstance(self.loss, DistributedDataParallel):
            return nullcontext()
        return self.loss.no_sync()


def make_players(task: Task, training: Training, ranks: Ranks) -> list[Player]:
    return [Player(turn, _loss_of(turn, ranks), make_optimizer(turn.parameters, training)) for turn in task.turns]


def _loss_of(turn: Turn, ranks: Ranks) -> Loss:
    if ranks.world == 1:
        return turn.loss
    return DistributedDataParallel(TurnLoss(turn), find_unused_parameters=not turn.every_parameter_used)


def make_optimizer(parameters: list[nn.Parameter], training: Training) -> torch.optim.AdamW:
    """AdamW; decay falls on matrices only (Loshchilov & Hutter, arXiv:1711.05101; Radford et al., GPT-2, and since)."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=training.learning_rate,
        betas=training.adam_betas,
        fused=True,
    )


def require_gradients_of(player: Player, players: list[Player]) -> None:
    """Only the moving turn's parameters get gradients: the generator's move must not fill the discriminator's."""
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
) -> dict[str, Tensor]:
    """Backward through every micro-batch. Returns this rank's share of the mean loss and figures, as tensors.

    `weight` counts the units of the whole global batch. DDP averages over ranks, hence the factor `world`.
    """
    shares: dict[str, Tensor] = {}
    scale = ranks.world / weight
    for number, batch in enumerate(batches):
        # A pure function of the position: a resumed step draws what the uninterrupted one drew.
        seed_place(ranks.device, training.seed, step, player.turn.name, number, ranks.rank)
        with player.sync(last=number == len(batches) - 1):
            with meter.forward(player.turn, player.loss, batch), autocast(training, ranks.device):
                loss, sums = player.loss(batch)
            meter.backward(loss * scale)
        for name, total in {"loss": loss, **sums}.items():
            share = total.detach().double() / weight
            shares[name] = shares[name] + share if name in shares else share
    return shares


def move(player: Player, training: Training, rate: float) -> Tensor:
    """Clip and step. Returns the norm of the gradients before clipping."""
    parameters = player.turn.parameters
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if training.clip_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, training.clip_norm, norm)
    for group in player.optimizer.param_groups:
        group["lr"] = rate
    player.optimizer.step()
    player.optimizer.zero_grad()
    return norm
