"""Two turns: a discriminator and a generator of points on a circle, in the same step."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.training.task import Batch, Task, Turn


def network(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    norm = nn.BatchNorm1d(24) if batch_norm else nn.LayerNorm(24)
    return nn.Sequential(nn.Linear(inputs, 24), norm, nn.SiLU(), nn.Linear(24, outputs))


class ToyGan(Task):
    """Before step `fooling_from` the generator learns the radius alone."""

    def __init__(self, noise_on_device: bool, batch_norm: bool, pause: float, fooling_from: int = 0) -> None:
        self.generator, self.discriminator = network(4, 2, batch_norm), network(2, 1, batch_norm)
        self.modules = {"generator": self.generator, "discriminator": self.discriminator}
        self.turns = [
            Turn("discriminator", self.judge, list(self.discriminator.parameters()), len_of),
            Turn("generator", self.fool, list(self.generator.parameters()), len_of),
        ]
        self.num_samples, self.noise_on_device, self.pause = 64, noise_on_device, pause
        self.fooling_from = fooling_from

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        time.sleep(self.pause)
        angles = torch.from_numpy(2 * np.pi * indices / self.num_samples).float()
        noise = [np.random.default_rng(derive(0, "noise", epoch, int(i))).standard_normal(4) for i in indices]
        real = torch.stack([angles.cos(), angles.sin()], dim=1)
        return {"real": real, "noise": torch.from_numpy(np.stack(noise)).float()}

    def fakes(self, batch: Batch) -> Tensor:
        noise = torch.randn_like(batch["noise"]) if self.noise_on_device else batch["noise"]
        return self.generator(noise)

    def judge(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = self.discriminator(batch["real"]), self.discriminator(self.fakes(batch).detach())
        loss = functional.softplus(-real).sum() + functional.softplus(fake).sum()
        return loss, {"right": (real > 0).sum()}

    def fool(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if self.step < self.fooling_from:
            radii = self.fakes(batch).norm(dim=1)
            return (radii - 1).square().sum(), {"radius": radii.sum()}
        return functional.softplus(-self.discriminator(self.fakes(batch))).sum(), {}

    def score(self) -> dict[str, float]:
        points = self.generator(self.batch(np.arange(64), epoch=0)["noise"])
        return {"loss": float((points.norm(dim=1) - 1).abs().mean())}


def len_of(batch: Batch) -> int:
    return len(batch["real"])


def make_task(noise_on_device: bool = True, batch_norm: bool = True, pause: float = 0.0, fooling_from: int = 0) -> Task:
    return ToyGan(noise_on_device, batch_norm, pause, fooling_from)
