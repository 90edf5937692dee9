"""LoRA (arXiv:2106.09685) on the toy language model: its own parameters are frozen, the adapter of its head learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from toy_language_model import VOCABULARY, ToyLanguageModel

from components.engines.training.task import Task, Turn


class Adapted(nn.Module):
    """y = base(x) + B(A x), B zero at first; `seen` is a buffer, as running statistics are."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.lora_a = nn.Linear(base.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_b.weight)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        return self.base(x) + self.lora_b(self.lora_a(x))


class AdaptedLanguageModel(ToyLanguageModel):
    def __init__(self, shift: float) -> None:
        super().__init__(16, 0.1, 50, 0.0)
        with torch.no_grad():
            self.model.embed.weight[VOCABULARY - 1, 0] += shift  # another base, in one number
        self.model.head = Adapted(self.model.head, 2)
        adapter = [p for name, p in self.model.named_parameters() if "lora_" in name]
        self.turns = [Turn("lm", self.loss, adapter, self.weight)]


def make_task(shift: float = 0.0) -> Task:
    return AdaptedLanguageModel(shift)
