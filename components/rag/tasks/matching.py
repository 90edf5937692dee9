"""The embedder's task: of all texts of a batch, each question's own is to lie nearest (Karpukhin et al. 2020, DPR)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.training.task import Batch, Task, Turn
from components.rag.networks.encoder import Embedder

_SCALE = 20.0  # of cosines: the inverse temperature
VALID_BATCH = 64


class Matching(Task):
    """Sample i is a pair (question, text). In-batch negatives; texts that are equal are no negatives of each other.

    Batches: `query_*` and `text_*` of input_ids and attention_mask [batch, tokens], `same` [batch, batch] (bool).
    """

    def __init__(self, embedder: Embedder, train: Sequence[tuple[str, str]], valid: Sequence[tuple[str, str]]) -> None:
        self.embedder, self.train, self.valid = embedder, train, valid
        self.modules, self.num_samples = {"model": embedder.network}, len(train)
        self.turns = [
            Turn("model", self.loss, list(embedder.network.parameters()), weight=lambda batch: len(batch["same"]))
        ]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self.collate([self.train[index] for index in indices.tolist()])

    def collate(self, pairs: Sequence[tuple[str, str]]) -> Batch:
        made: Batch = {}
        for number, name in enumerate(("query", "text")):
            tokens = self.embedder.tokens([pair[number] for pair in pairs])
            made |= {f"{name}_{key}": value for key, value in tokens.items()}
        texts = [text for _, text in pairs]
        made["same"] = torch.tensor([[one == other for other in texts] for one in texts])
        return made

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed InfoNCE, both ways; `accuracy` counts questions whose own text is the nearest."""
        queries, texts = (
            self.embedder.vectors({key: batch[f"{name}_{key}"] for key in ("input_ids", "attention_mask")})
            for name in ("query", "text")
        )
        own = torch.arange(len(queries), device=queries.device)
        others = batch["same"] & ~torch.eye(len(queries), dtype=torch.bool, device=queries.device)
        logits = (_SCALE * queries.float() @ texts.float().T).masked_fill(others, -1e4)  # [queries, texts]
        total = functional.cross_entropy(logits, own, reduction="sum")
        total = (total + functional.cross_entropy(logits.T, own, reduction="sum")) / 2
        return total, {"accuracy": (logits.detach().argmax(-1) == own).sum()}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        device, total, right = next(self.embedder.network.parameters()).device, 0.0, 0.0
        for start in range(0, len(self.valid), VALID_BATCH):
            batch = self.collate(self.valid[start : start + VALID_BATCH])
            loss, sums = self.loss({name: tensor.to(device) for name, tensor in batch.items()})
            total, right = total + loss.item(), right + sums["accuracy"].item()
        return {"valid_loss": total / len(self.valid), "valid_accuracy": right / len(self.valid)}
