"""The training task of the safety classifier: what kind of harm a request, or an answer to it, is about, if any.

One network reads both, as Llama Guard does (arXiv:2312.06674): a conversation that ends with the user is a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.chat_assistant.networks.scorer import scores
from components.engines.base.seeds import derive
from components.engines.language.pairs import pad
from components.engines.language.tokens import VALID_BATCH
from components.engines.training.task import Batch, Task, Turn

Labelled = tuple[list[int], int]  # token ids, number of the category


@dataclass(frozen=True)
class Noise:
    """In training each token of `words` is another of them with probability `share`, drawn anew in every epoch.

    A classifier that has met few ways of asking learns them by heart; among words that it does not know it must find what is
    asked for.
    """

    words: Sequence[int]
    share: float
    seed: int

    def on(self, ids: list[int], index: int, epoch: int) -> list[int]:
        rng = np.random.default_rng(derive(self.seed, "noise", epoch, index))
        given = np.array(ids)
        hit = (rng.random(len(ids)) < self.share) & np.isin(given, self.words)
        return np.where(hit, rng.choice(self.words, len(ids)), given).tolist()


class Harm(Task):
    """Sample i is `train[i]`, with noise where there is one. Batches: `ids`, `mask` [batch, tokens], `label` [batch]."""

    def __init__(
        self,
        model: Any,
        train: Sequence[Labelled],
        valid: Sequence[Labelled],
        *,
        pad_id: int,
        noise: Noise | None = None,
    ) -> None:
        self.model, self.train, self.valid, self.pad_id, self.noise = model, train, valid, pad_id, noise
        self.modules, self.num_samples = {"model": model}, len(train)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.turns = [Turn("model", self.loss, trained, lambda batch: len(batch["label"]))]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate([self._sample(index, epoch) for index in indices.tolist()])

    def _sample(self, index: int, epoch: int) -> Labelled:
        ids, label = self.train[index]
        return (self.noise.on(ids, index, epoch) if self.noise else ids), label

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed cross-entropy over samples, and how many were right."""
        found = scores(self.model, batch["ids"], batch["mask"])
        loss = functional.cross_entropy(found, batch["label"], reduction="sum")
        return loss, {"accuracy": (found.argmax(-1) == batch["label"]).sum()}

    def count_tokens(self, batch: Batch) -> int:
        return int(batch["mask"].sum())

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        device, total, right = next(self.model.parameters()).device, 0.0, 0.0
        for batch in self._batches():
            loss, sums = self.loss({name: tensor.to(device) for name, tensor in batch.items()})
            total, right = total + loss.item(), right + sums["accuracy"].item()
        return {"valid_loss": total / len(self.valid), "valid_accuracy": right / len(self.valid)}

    def _batches(self) -> Iterator[Batch]:
        for start in range(0, len(self.valid), VALID_BATCH):
            yield self._collate(self.valid[start : start + VALID_BATCH])

    def _collate(self, samples: Sequence[Labelled]) -> Batch:
        return {
            "ids": torch.from_numpy(pad([ids for ids, _ in samples], self.pad_id)),
            "mask": torch.from_numpy(pad([[1] * len(ids) for ids, _ in samples], 0)),
            "label": torch.tensor([label for _, label in samples]),
        }
