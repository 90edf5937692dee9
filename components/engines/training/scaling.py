"""Loss scaling for fp16, whose gradients would vanish below 6e-8: Micikevicius et al., arXiv:1710.03740 § 3.2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from components.engines.base.errors import StageError
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

SMALLEST = 1e-4  # fairseq's --min-loss-scale: below it, gradients overflow for another reason than their scale


class Scaler:
    """torch's GradScaler for one turn, whose verdict on a step all ranks share.

    The loss is multiplied before backward and the gradients divided after it. If any is not finite, no rank moves and
    the scale is halved; after 2 000 moves in a row it is doubled.
    """

    def __init__(self, turn: str, device: torch.device) -> None:
        self.turn = turn
        self.scaler = torch.amp.GradScaler(device.type)

    def scale(self, loss: Tensor) -> Tensor:
        return self.scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer, ranks: Ranks) -> Tensor:
        """Give the gradients their true size. Returns 1 on every rank if any rank's are not finite, else 0."""
        self.scaler.unscale_(optimizer)
        # Under DDP gradients are equal anyway; where each rank holds its own part, one alone may overflow. The tensors
        # are the scaler's own (as in FSDP's ShardedGradScaler), and fused kernels skip at exactly 1.
        found = list(self.scaler._found_inf_per_device(optimizer).values())
        for tensor in found:
            ranks.sum(tensor).clamp_(max=1)
        return found[0].double()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move, unless `unscale` found an overflow, and adapt the scale."""
        self.scaler.step(optimizer)
        self.scaler.update()

    def size(self) -> float:
        """The scale. Raises StageError where halving it has not helped: nothing would be learnt any more."""
        scale = self.scaler.get_scale()
        if scale < SMALLEST:
            raise StageError(
                f"Turn '{self.turn}' overflows in fp16 whatever the loss scale: it fell to {scale:g}",
                do="try precision bf16 or fp32, lower learning_rate, or look for bad samples",
            )
        return scale

    def as_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load(self, values: dict[str, Any]) -> None:
        self.scaler.load_state_dict(values)


def make_scaler(turn: str, training: Training, device: torch.device) -> Scaler | None:
    return Scaler(turn, device) if training.precision == "fp16" else None
