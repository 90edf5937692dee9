"""Rollouts, two turns that move twice: the example room, slow enough to be killed in the middle."""

from __future__ import annotations

import time

import numpy as np
import torch
from examples.rl import Counting

from components.engines.training.task import Batch, Task


class ToyRl(Counting):
    """With `noise_on_device` the rollout draws from torch's generators instead of the batch's noise."""

    def __init__(self, noise_on_device: bool, pause: float) -> None:
        super().__init__(num_samples=64, width=16)
        self.noise_on_device, self.pause = noise_on_device, pause

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        time.sleep(self.pause)
        return super().batch(indices, epoch)

    def rollout(self, batch: Batch, step: int) -> Batch:
        if self.noise_on_device:
            batch = {**batch, "noise": -torch.empty_like(batch["noise"]).exponential_().log()}
        return super().rollout(batch, step)


def make_task(noise_on_device: bool = True, pause: float = 0.0) -> Task:
    return ToyRl(noise_on_device, pause)
