"""The toy language model with batches that make its loss spike: those of the given data steps."""

from __future__ import annotations

import os
import signal

import numpy as np
import torch
from torch import Tensor
from toy_language_model import ToyLanguageModel

from components.engines.base.seeds import derive
from components.engines.shards.order import SampleOrder
from components.engines.training.task import Batch, Task


class PoisonedLanguageModel(ToyLanguageModel):
    def __init__(self, poisoned: list[int], dropout: float, stop_at_call: int, pause: float) -> None:
        super().__init__(16, dropout, 50, pause)
        order = SampleOrder(50, 16, derive(0, "order"))
        self.poisoned = {(step, frozenset(order.step(step).tolist())) for step in poisoned}
        self.stop_at_call, self.calls = stop_at_call, 0

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        batch = super().batch(indices, epoch)
        steps = {
            step for step, samples in self.poisoned if epoch == step * 16 // 50 and samples >= set(indices.tolist())
        }
        return {**batch, "poison": torch.full((len(indices),), 50.0 if steps else 1.0)}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if self.model.training:
            self.calls += 1
            if self.calls == self.stop_at_call:
                os.kill(os.getpid(), signal.SIGTERM)
        loss, sums = super().loss(batch)
        return loss * batch["poison"][0], sums


def make_task(poisoned: list[int], dropout: float = 0.1, stop_at_call: int = 0, pause: float = 0.0) -> Task:
    return PoisonedLanguageModel(poisoned, dropout, stop_at_call, pause)
