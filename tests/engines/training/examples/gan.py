"""Train a generator of points on a ring of eight spots against a critic: two turns, the critic's twice a step."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.training.launch import launch
from components.engines.training.observe.curve import write_curve
from components.engines.training.params import Training
from components.engines.training.task import Batch, Task, Turn

NOISE, SPOTS, SPREAD = 4, 8, 0.05


def perceptron(inputs: int, outputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs)
    )


def ring(num_points: int, seed: int) -> Tensor:
    """Points around SPOTS places on the unit circle, (point, 2)."""
    draw = np.random.default_rng(seed)
    angles = 2 * np.pi * draw.integers(SPOTS, size=num_points) / SPOTS
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return torch.from_numpy(centres + SPREAD * draw.standard_normal((num_points, 2))).float()


class Gan(Task):
    """The non-saturating game (Goodfellow et al., arXiv:1406.2661) with instance noise (arXiv:1610.04490)."""

    def __init__(self, num_samples: int, width: int, blur: float) -> None:
        self.generator, self.critic, self.blur = perceptron(NOISE, 2, width), perceptron(2, 1, width), blur
        self.modules = {"generator": self.generator, "critic": self.critic}
        self.turns = [
            Turn("critic", self.judge, list(self.critic.parameters()), num_points, repeats=2),
            Turn("generator", self.fool, list(self.generator.parameters()), num_points),
        ]
        self.points, self.num_samples = ring(num_samples, seed=1), num_samples

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        draws = [np.random.default_rng(derive(0, "noise", epoch, int(i))).standard_normal(NOISE) for i in indices]
        return {"real": self.points[torch.from_numpy(indices)], "noise": torch.from_numpy(np.stack(draws)).float()}

    def opinion(self, points: Tensor) -> Tensor:
        return self.critic(points + self.blur * torch.randn_like(points)).float()  # (B, 1)

    def judge(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = self.opinion(batch["real"]), self.opinion(self.generator(batch["noise"]).detach())
        loss = functional.softplus(-real).sum() + functional.softplus(fake).sum()
        return loss, {"accuracy": ((real > 0).sum() + (fake < 0).sum()) / 2}

    def fool(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return functional.softplus(-self.opinion(self.generator(batch["noise"]))).sum(), {}

    def score(self) -> dict[str, float]:
        """Energy distance to fresh points (Székely & Rizzo): 0 for equal distributions."""
        device = next(self.generator.parameters()).device
        real, fake = ring(512, seed=2).to(device), self.generator(torch.randn(512, NOISE, device=device)).float()
        across, within = torch.cdist(real, fake).mean(), torch.cdist(real, real).mean() + torch.cdist(fake, fake).mean()
        return {"energy_distance": (2 * across - within).item()}


def num_points(batch: Batch) -> int:
    return len(batch["real"])


def train(training: Training, *, weights: Path, curve: Path, work: Path) -> dict[str, float]:
    """Weights and loss curves out; returns the scores."""
    fit = launch(partial(Gan, num_samples=512, width=48, blur=0.1), training, work=work)
    write_curve(curve, fit.curve)
    shutil.copytree(fit.weights, weights)
    return fit.scores
