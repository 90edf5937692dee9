"""Proximal policy optimisation of a language model: each step draws answers, scores them, and learns from them a few times.

Ziegler et al. 2019 (arXiv:1909.08593) and Ouyang et al. 2022 (arXiv:2203.02155); the steps' order follows Huang et al. 2024
(arXiv:2403.17031).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.chat_assistant.networks.scorer import scores
from components.chat_assistant.tasks.advantages import clipped, clipped_values, gae, k3, token_rewards, whitened
from components.chat_assistant.tasks.preferred import token_logps
from components.chat_assistant.tasks.reading import Prompt
from components.chat_assistant.tasks.rollouts import draw, left_padded
from components.engines.base.seeds import derive
from components.engines.generation.decoding import Decoding
from components.engines.training.task import Batch, Task, Turn

Measure = Callable[[Any], dict[str, float]]


@dataclass(frozen=True)
class Settings:
    """See components/chat_assistant/ppo.py, whose params these are."""

    epochs: int
    clip: float
    value_weight: float
    value_clip: float
    discount: float
    decay: float
    kl_coefficient: float
    kl_target: float
    kl_horizon: float
    temperature: float
    max_new_tokens: int
    seed: int


class Critic(nn.Module):
    """What PPO needs besides the policy: a value at each token, [batch, tokens], from the policy's own states, and the KL's
    price.

    The price is a buffer, so that it is saved with a checkpoint and a resumed run goes on with it.
    """

    kl_coefficient: Tensor

    def __init__(self, width: int, kl_coefficient: float) -> None:
        super().__init__()
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("kl_coefficient", torch.tensor(kl_coefficient))

    def forward(self, states: Tensor) -> Tensor:
        return self.head(states).squeeze(-1).float()

    def adapt(self, kl: Tensor, target: float, horizon: float, answers: int) -> None:
        """The adaptive controller (arXiv:1909.08593, § 2.2): dearer where the KL of an answer is above its target."""
        error = (kl / target - 1).clamp(-0.2, 0.2)
        self.kl_coefficient.mul_(1 + error * answers / horizon)


class PPO(Task):
    """Sample i is question i of `train`. `reference` is the model that training starts from, `reward` scores whole conversations.

    Batches of questions: `ids`, `mask` [batch, tokens], padded on the left, `seeds` [batch]. After the rollout `ids` and `mask`
    hold the answers too, and `answer`, `old`, `values`, `advantages`, `returns` [batch, new tokens] are what is learnt from.
    """

    def __init__(
        self, model: Any, reference: Any, reward: Any, train: Sequence[Prompt], measure: Measure, settings: Settings
    ) -> None:
        self.model, self.reference, self.reward = model, reference, reward
        self.train, self.measure, self.settings = train, measure, settings
        width = model.get_input_embeddings().embedding_dim
        self.critic = Critic(width, settings.kl_coefficient)
        self.modules, self.frozen = {"model": model, "critic": self.critic}, {"reference": reference, "reward": reward}
        self.num_samples, self.pad_id = len(train), model.config.pad_token_id
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        trained += list(self.critic.parameters())
        self.turns = [Turn("policy", self.loss, trained, num_answer_tokens, repeats=settings.epochs)]
        self.drawing = Decoding(
            strategy="sample", temperature=settings.temperature, max_new_tokens=settings.max_new_tokens
        )

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        ids, mask = left_padded([self.train[index].ids for index in indices.tolist()], self.pad_id)
        seeds = [derive(self.settings.seed, "rollout", epoch, index) for index in indices.tolist()]
        return {"ids": ids, "mask": mask, "seeds": torch.tensor(seeds)}

    def rollout(self, batch: Batch, step: int) -> Batch:
        """Answers of the policy as it is, with what they are worth."""
        chosen = self.settings
        answers, kept = draw(self.model, batch["ids"], batch["mask"], batch["seeds"].tolist(), self.drawing)
        given = {"ids": torch.cat([batch["ids"], answers], 1), "mask": torch.cat([batch["mask"], kept], 1)}
        old, values, _ = self._read(given, answers.shape[1])
        reference = self._logps(self.reference, given, answers.shape[1])
        score = scores(self.reward, given["ids"], given["mask"])[:, 0]
        kl = (k3(old, reference) * kept).sum(1)
        rewards = token_rewards(score, old, reference, kept, self.critic.kl_coefficient)
        advantages, returns = gae(rewards, values, kept, chosen.discount, chosen.decay)
        self.critic.adapt(_over_ranks(kl.mean()), chosen.kl_target, chosen.kl_horizon, len(kl))
        return given | {
            "answer": kept,
            "old": old,
            "values": values,
            "advantages": whitened(advantages, kept),
            "returns": returns,
            "score": score,
            "kl": kl,
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed over the answers' tokens. Figures of whole answers count as often as their answers have tokens on average."""
        mask, settings = batch["answer"].float(), self.settings
        new, values, entropy = self._read(batch, mask.shape[1])
        policy, bound = clipped(new, batch["old"], batch["advantages"], settings.clip)
        value = clipped_values(values, batch["values"], batch["returns"], settings.value_clip)
        tokens = mask.sum()
        figures = {
            "policy_loss": (policy * mask).sum(),
            "value_loss": (value * mask).sum(),
            "clipped": (bound * mask).sum(),
            "entropy": (entropy * mask).sum(),
            "moved": (k3(batch["old"], new) * mask).sum(),
            "reward": batch["score"].mean() * tokens,
            "kl": batch["kl"].mean() * tokens,
            "kl_price": self.critic.kl_coefficient * tokens,
            "answer_tokens": tokens * tokens / len(mask),
        }
        loss = ((policy + settings.value_weight * value) * mask).sum()
        return loss, {name: found.detach() for name, found in figures.items()}

    def count_tokens(self, batch: Batch) -> int:
        return int(batch["mask"].sum())

    def score(self) -> dict[str, float]:
        return self.measure(self.model)

    def _read(self, batch: Batch, answers: int) -> tuple[Tensor, Tensor, Tensor]:
        """(log-probability, value, entropy) at each of the answer's tokens, all [batch, new tokens], from one pass."""
        found = self.model(**_inputs(self.model, batch), output_hidden_states=True)
        logits = found.logits[:, -answers - 1 : -1].float() / self.settings.temperature
        spread = logits.log_softmax(-1)
        values = self.critic(found.hidden_states[-1][:, -answers - 1 : -1])
        return token_logps(logits, batch["ids"][:, -answers:]), values, -(spread.exp() * spread).sum(-1)

    def _logps(self, model: Any, batch: Batch, answers: int) -> Tensor:
        logits = model(**_inputs(model, batch)).logits[:, -answers - 1 : -1].float() / self.settings.temperature
        return token_logps(logits, batch["ids"][:, -answers:])


def num_answer_tokens(batch: Batch) -> int:
    return int(batch["answer"].sum())


def _inputs(model: Any, batch: Batch) -> dict[str, Any]:
    """Padding on the left takes no position."""
    given: dict[str, Any] = {"input_ids": batch["ids"], "attention_mask": batch["mask"], "use_cache": False}
    if model.config.model_type != "mpt":  # its bias counts distances alone
        given["position_ids"] = (batch["mask"].cumsum(1) - 1).clamp(min=0)
    return given


def _over_ranks(value: Tensor) -> Tensor:
    """The mean over processes: all of them must price the KL alike."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
        value = value / torch.distributed.get_world_size()
    return value
