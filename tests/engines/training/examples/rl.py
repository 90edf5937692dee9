"""Teach a policy by reward, near a reference: rollouts, then a policy's and a critic's turn, each moving twice on them."""

from __future__ import annotations

import copy
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from components.engines.base.seeds import derive
from components.engines.training.launch import launch
from components.engines.training.observe.curve import write_curve
from components.engines.training.params import Training
from components.engines.training.task import Batch, Task, Turn

WORDS, LENGTH, CLIP, KL_PRICE = 8, 4, 0.2, 0.02


class Policy(nn.Module):
    """Logits of the next word given the words so far (B batch, T words so far, V words)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.memory, self.head = nn.Embedding(WORDS, width), nn.GRU(width, width), nn.Linear(width, WORDS)

    def forward(self, words_bt: Tensor) -> Tensor:
        states_tbd, _ = self.memory(self.embed(words_bt).transpose(0, 1))
        return self.head(states_tbd).transpose(0, 1).float()  # (B, T, V)


class Counting(Task):
    """From a first word, count up: proximal policy optimisation (arXiv:1707.06347) with a price on leaving the reference."""

    def __init__(self, num_samples: int, width: int) -> None:
        self.policy, self.critic = Policy(width), nn.Embedding(WORDS, 1)
        self.frozen = {"reference": copy.deepcopy(self.policy)}
        self.modules = {"policy": self.policy, "critic": self.critic}
        self.turns = [
            Turn("policy", self.improve, list(self.policy.parameters()), num_answers, repeats=2),
            Turn("critic", self.judge, list(self.critic.parameters()), num_answers, repeats=2),
        ]
        self.num_samples = num_samples

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        """First words, and the noise that draws the rest: of a sample, so that it is the same on any rank."""
        seeds = [derive(0, "rollout", epoch, int(index)) for index in indices]
        noise = np.stack([np.random.default_rng(seed).gumbel(size=(LENGTH, WORDS)) for seed in seeds])
        return {"first": torch.from_numpy(indices % WORDS), "noise": torch.from_numpy(noise).float()}

    def rollout(self, batch: Batch, step: int) -> Batch:
        words = batch["first"][:, None]
        for position in range(LENGTH):  # a maximum of logits and Gumbel noise is a draw from the policy
            drawn = (self.policy(words)[:, -1] + batch["noise"][:, position]).argmax(-1)
            words = torch.cat([words, drawn[:, None]], dim=1)
        old, near = (log_probabilities(model, words) for model in (self.policy, self.frozen["reference"]))
        reward, kl = count_right(words), (old - near).sum(1)
        gain = reward - KL_PRICE * kl
        return {"words": words, "old": old, "reward": reward, "kl": kl, "gain": gain, "value": self.value(words)}

    def value(self, words: Tensor) -> Tensor:
        return self.critic(words[:, 0])[:, 0].float()

    def improve(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        ratio = (log_probabilities(self.policy, batch["words"]) - batch["old"]).exp()  # (B, LENGTH)
        advantage = (batch["gain"] - batch["value"])[:, None]
        loss = -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
        return loss.sum(), {"reward": batch["reward"].sum(), "kl": batch["kl"].sum()}

    def judge(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return (self.value(batch["words"]) - batch["gain"]).square().sum(), {}

    def score(self) -> dict[str, float]:
        batch = self.batch(np.arange(64), epoch=-1)
        device = self.critic.weight.device
        return {"reward": self.rollout({k: v.to(device) for k, v in batch.items()}, -1)["reward"].mean().item()}


def log_probabilities(model: nn.Module, words: Tensor) -> Tensor:
    return model(words[:, :-1]).log_softmax(-1).gather(2, words[:, 1:, None])[:, :, 0]  # (B, LENGTH)


def count_right(words: Tensor) -> Tensor:
    return ((words[:, 1:] - words[:, :-1]) % WORDS == 1).float().mean(1)


def num_answers(batch: Batch) -> int:
    return len(batch["words"])


def train(training: Training, *, weights: Path, curve: Path, work: Path) -> dict[str, float]:
    """Weights and the curves of loss, reward and KL out; returns the scores."""
    fit = launch(partial(Counting, num_samples=256, width=24), training, work=work)
    write_curve(curve, fit.curve)
    shutil.copytree(fit.weights, weights)
    return fit.scores
