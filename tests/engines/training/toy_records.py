"""The toy language model whose samples take time to decode, or cannot be decoded."""

from __future__ import annotations

import time

import numpy as np
from toy_language_model import ToyLanguageModel

from components.engines.training.task import Batch, Task


class Records(ToyLanguageModel):
    def __init__(self, seconds: float, broken: int | None, uses_network: bool) -> None:
        super().__init__(16, 0.0, 50, 0.0)
        self.model.config = {"width": 16}
        self.seconds, self.broken, self.uses_network = seconds, broken, uses_network

    def sample(self, index: int, epoch: int) -> np.ndarray:
        time.sleep(self.seconds)
        if index == self.broken:
            raise ValueError("no such picture")
        return super().sample(index, epoch)

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        assert self.model.config["width"] == 16
        if self.uses_network:
            self.model.head.weight.sum()
        return super().batch(indices, epoch)


def make_task(seconds: float = 0.0, broken: int | None = None, uses_network: bool = False) -> Task:
    return Records(seconds, broken, uses_network)
