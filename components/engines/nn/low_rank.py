"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): a network whose matrices stay, and of which a small difference is learnt.

Our own, by torch's parametrizations, since peft is no dependency here: a merged network is one of its kind like any other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from components.engines.nn.lora import Lora


class LowRank(nn.Module):
    """W + (alpha ÷ rank) · A B, with A [rows, rank] zero and B [rank, columns] random at first: the network begins as it was."""

    def __init__(self, weight: Tensor, lora: Lora) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.scale = lora.alpha / lora.rank
        self.a = nn.Parameter(torch.zeros(rows, lora.rank))
        self.b = nn.Parameter(torch.randn(lora.rank, columns) / lora.rank**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.a @ self.b)


def adapt(network: Any, lora: Lora | None) -> Any:
    """The network with adapters on the matrices of its blocks, which alone are to be trained, besides a head that is new
    (`score`); without `lora`, as it is."""
    if lora is None:
        return network
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for name, module in list(network.named_modules()):
        if not _is_matrix(module):
            continue
        if name == "score":
            module.weight.requires_grad_(True)
        elif module is not network.get_output_embeddings():
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, lora))
    return network


def merge(network: Any) -> Any:
    """The network with each difference added to its matrix, and no adapters."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network


def _is_matrix(module: nn.Module) -> bool:
    """A linear layer, or GPT-2's (`Conv1D`, whose matrix is the other way round)."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.ndim == 2 and not isinstance(module, nn.Embedding)
