"""The training task of encoder–decoders: cross-entropy of every target token given the source and the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from components.engines.language.pairs import pad
from components.engines.language.tokens import IGNORED, VALID_BATCH, num_labels, token_loss, token_scores
from components.engines.training.task import Batch, Task, Turn


class Seq2Seq(Task):
    """One turn over all parameters. Subclasses say how many samples there are and encode them.

    Batches: `input_ids`, `attention_mask` [batch, source length], `labels` [batch, target length] with padding -100.
    """

    num_valid: int

    def __init__(self, model: Any, tokenizer: Any, *, label_smoothing: float = 0.0) -> None:
        self.model, self.tokenizer, self.label_smoothing = model, tokenizer, label_smoothing
        self.modules = {"model": model}
        self.start_id = model.config.decoder_start_token_id
        self.turns = [Turn("model", self.loss, [p for p in model.parameters() if p.requires_grad], weight=num_labels)]

    def encode_samples(self, indices: np.ndarray, epoch: int) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids of the encoder inputs and of the labels for these training samples."""
        raise NotImplementedError

    def encode_valid(self, indices: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
        raise NotImplementedError

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate(*self.encode_samples(indices, epoch))

    def _collate(self, sources: list[list[int]], targets: list[list[int]]) -> Batch:
        input_ids = torch.from_numpy(pad(sources, self.tokenizer.pad_token_id))
        lengths = torch.tensor([len(source) for source in sources])
        return {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1])[None, :] < lengths[:, None]).long(),
            "labels": torch.from_numpy(pad(targets, IGNORED)),
        }

    def count_tokens(self, batch: Batch) -> int:
        """Of both sides."""
        return int(batch["attention_mask"].sum()) + num_labels(batch)

    def logits(self, batch: Batch) -> torch.Tensor:
        """[batch, target length, vocabulary]"""
        return self.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=shift_right(batch["labels"], self.start_id, self.tokenizer.pad_token_id),
        ).logits

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Summed cross-entropy over the target tokens of a batch, and how many of them were right."""
        return token_loss(self.logits(batch), batch["labels"], self.label_smoothing)

    def score(self) -> dict[str, float]:
        """Loss, perplexity and token accuracy over the whole validation split."""
        return token_scores(self.loss, self._valid_batches(), next(self.model.parameters()).device)

    def _valid_batches(self) -> Iterator[Batch]:
        for start in range(0, self.num_valid, VALID_BATCH):
            yield self._collate(*self.encode_valid(np.arange(start, min(start + VALID_BATCH, self.num_valid))))


def shift_right(labels: Any, start_id: int, pad_id: int) -> Any:
    """Decoder input for teacher forcing: the labels behind a start token, the last one dropped. [batch, length]"""
    shifted = labels.new_full(labels.shape, start_id)
    shifted[:, 1:] = labels[:, :-1]
    return shifted.masked_fill(shifted < 0, pad_id)
