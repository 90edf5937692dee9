"""The training task of the reward model: the better answer of a pair gets the higher score, by a margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.chat_assistant.networks.scorer import scores
from components.chat_assistant.tasks.preferred import collate, margin_loss, num_pairs
from components.chat_assistant.tasks.reading import Pair
from components.engines.language.tokens import VALID_BATCH
from components.engines.training.task import Batch, Task, Turn


class Rewarding(Task):
    """Sample i is pair i of `train`. A pair's margin counts `margin_scale` times."""

    def __init__(
        self, model: Any, train: Sequence[Pair], valid: Sequence[Pair], *, pad_id: int, margin_scale: float
    ) -> None:
        self.model, self.train, self.valid, self.pad_id, self.margin_scale = model, train, valid, pad_id, margin_scale
        self.modules, self.num_samples = {"model": model}, len(train)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.turns = [Turn("model", self.loss, trained, num_pairs)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return collate([self.train[index] for index in indices.tolist()], self.pad_id)

    def count_tokens(self, batch: Batch) -> int:
        return int(batch["mask"].sum())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed over pairs; and how many are in the right order, and by how much."""
        chosen, rejected = scores(self.model, batch["ids"], batch["mask"])[:, 0].chunk(2)
        loss = margin_loss(chosen, rejected, self.margin_scale * batch["margin"])
        return loss.sum(), {"accuracy": (chosen > rejected).sum(), "gap": (chosen - rejected).detach().sum()}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        device, total, right = next(self.model.parameters()).device, 0.0, 0.0
        for start in range(0, len(self.valid), VALID_BATCH):
            batch = collate(self.valid[start : start + VALID_BATCH], self.pad_id)
            loss, sums = self.loss({name: tensor.to(device) for name, tensor in batch.items()})
            total, right = total + loss.item(), right + sums["accuracy"].item()
        return {"valid_loss": total / len(self.valid), "valid_accuracy": right / len(self.valid)}
