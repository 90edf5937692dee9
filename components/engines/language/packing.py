"""Pretraining on packed rows: documents behind each other without padding between, none of which sees another.

Krell et al. 2021 (arXiv:2107.02027): what is packed is learnt as it would be alone if attention and positions end where a
document does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.engines.language.pairs import pad
from components.engines.language.tokens import IGNORED, VALID_BATCH, num_labels, token_loss, token_scores
from components.engines.training.task import Batch, Task, Turn

PackedRow = list[list[int]]  # the documents of a row, each as token ids


def pack(documents: Iterable[list[int]], length: int) -> list[PackedRow]:
    """Documents in their order, as many in a row as fit into `length`; a longer one is cut into windows of it, rest included.

    Of a document of one token nothing can be learnt, and it is left out.
    """
    rows: list[PackedRow] = []
    room = 0
    for document in documents:
        for start in range(0, len(document), length):
            piece = document[start : start + length]
            if len(piece) < 2:
                continue
            if len(piece) > room:
                rows.append([])
                room = length
            rows[-1].append(piece)
            room -= len(piece)
    return rows


class PackedLM(Task):
    """Sample i is row i of `train`; every token of a document but its first is learnt, given those before it in the same one.

    Batches: `input_ids`, `labels`, `documents` (numbers from 1, 0 for padding), `positions` (from 0 in each document), all
    [batch, tokens].
    """

    def __init__(
        self, model: Any, train: Sequence[PackedRow], valid: Sequence[PackedRow], *, pad_id: int, length: int
    ) -> None:
        self.model, self.train, self.valid, self.pad_id, self.length = model, train, valid, pad_id, length
        self.modules, self.num_samples = {"model": model}, len(train)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.turns = [Turn("model", self.loss, trained, num_labels)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self.collate([self.train[index] for index in indices.tolist()])

    def collate(self, rows: Sequence[PackedRow]) -> Batch:
        def of(each: Any, value: int) -> Tensor:
            return torch.from_numpy(
                pad([[x for n, one in enumerate(row) for x in each(n, one)] for row in rows], value, self.length)
            )

        return {
            "input_ids": of(lambda n, one: one, self.pad_id),
            "labels": of(lambda n, one: [*one[1:], IGNORED], IGNORED),
            "documents": of(lambda n, one: [n + 1] * len(one), 0),
            "positions": of(lambda n, one: range(len(one)), 0),
        }

    def count_tokens(self, batch: Batch) -> int:
        return int((batch["documents"] > 0).sum())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return token_loss(packed_logits(self.model, batch), batch["labels"])

    def score(self) -> dict[str, float]:
        """Loss, perplexity and token accuracy over the validation rows."""
        return token_scores(self.loss, self._batches(), next(self.model.parameters()).device)

    def _batches(self) -> Iterator[Batch]:
        for start in range(0, len(self.valid), VALID_BATCH):
            yield self.collate(self.valid[start : start + VALID_BATCH])


def packed_logits(model: nn.Module, batch: Batch) -> Tensor:
    """[batch, tokens, vocabulary]"""
    return model(
        input_ids=batch["input_ids"],
        attention_mask=within_documents(batch["documents"], next(model.parameters()).dtype),
        position_ids=batch["positions"],
        use_cache=False,
    ).logits


def within_documents(documents: Tensor, dtype: torch.dtype) -> Tensor:
    """What may be attended to, as an additive mask [batch, 1, tokens, tokens]: earlier tokens of the same document, and
    itself."""
    same = documents[:, None, :, None] == documents[:, None, None, :]
    size = documents.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=documents.device).tril()
    allowed = same & causal
    return torch.zeros(allowed.shape, dtype=dtype, device=documents.device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )
