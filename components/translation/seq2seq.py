"""The training task of encoder–decoders: cross-entropy of every target token given the source and the tokens before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from components.engines.training.task import Task, Turn
from components.translation.model import shift_right
from components.translation.pairs import IGNORED, pad

VALID_BATCH = 128


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

    def batch(self, indices: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
        return self._collate(*self.encode_samples(indices, epoch))

    def _collate(self, sources: list[list[int]], targets: list[list[int]]) -> dict[str, torch.Tensor]:
        input_ids = torch.from_numpy(pad(sources, self.tokenizer.pad_token_id))
        lengths = torch.tensor([len(source) for source in sources])
        return {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1])[None, :] < lengths[:, None]).long(),
            "labels": torch.from_numpy(pad(targets, IGNORED)),
        }

    def count_tokens(self, batch: dict[str, torch.Tensor]) -> int:
        """Of both sides."""
        return int(batch["attention_mask"].sum()) + num_labels(batch)

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Summed cross-entropy over the target tokens of a batch, and how many of them were right."""
        labels = batch["labels"]
        logits = self.model(  # [batch, target length, vocabulary]
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=shift_right(labels, self.start_id, self.tokenizer.pad_token_id),
        ).logits
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(),
            labels.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        right = (logits.detach().argmax(-1) == labels).sum()
        return total, {"accuracy": right}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Loss, perplexity and token accuracy over the whole validation split."""
        total = right = tokens = 0.0
        for start in range(0, self.num_valid, VALID_BATCH):
            indices = np.arange(start, min(start + VALID_BATCH, self.num_valid))
            batch = self.to_device(self._collate(*self.encode_valid(indices)))
            loss, sums = self.loss(batch)
            total, right, tokens = total + loss.item(), right + sums["accuracy"].item(), tokens + num_labels(batch)
        loss_per_token = total / tokens
        return {
            "valid_loss": loss_per_token,
            "valid_perplexity": math.exp(min(loss_per_token, 50.0)),
            "valid_accuracy": right / tokens,
        }

    def to_device(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        device = next(self.model.parameters()).device
        return {name: tensor.to(device) for name, tensor in batch.items()}


def num_labels(batch: dict[str, torch.Tensor]) -> int:
    """Target tokens of a batch: the weight its loss has in the step."""
    return int((batch["labels"] != IGNORED).sum())
