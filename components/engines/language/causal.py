"""The training task of decoder-only models: cross-entropy of every token that is to be learnt, given those before it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.engines.language.pairs import pad
from components.engines.language.tokens import (
    IGNORED,
    VALID_BATCH,
    label_nlls,
    next_tokens,
    num_labels,
    token_loss,
    token_scores,
)
from components.engines.training.task import Batch, Pieces, Task, Turn

_GIVEN = ("input_ids", "attention_mask", "position_ids")


@dataclass(frozen=True)
class Tokens:
    """Token ids of one sample, and which of them are to be learnt: of a prompt or of what a user said, none."""

    ids: list[int]
    learnt: list[bool]


def prompted(tokenizer: Any, prompt: str, answer: str, max_tokens: int) -> Tokens:
    """A prompt with its answer, of which only the answer and its end are to be learnt; cut at `max_tokens`.

    The tokenizer's start stands before both, its end behind both, whatever its own template says: what is continued has no end.
    Without a prompt the whole text is learnt.
    """
    end, start = tokenizer.eos_token_id, tokenizer.bos_token_id
    before = [*([start] if start is not None else []), *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    after = [*tokenizer(answer, add_special_tokens=False)["input_ids"], *([end] if end is not None else [])]
    ids = [*before, *after][:max_tokens]
    return Tokens(ids, [position >= len(before) for position in range(len(ids))])


class Encoded(Sequence[Tokens]):
    """Samples as tokens, each encoded when it is asked for."""

    def __init__(self, samples: Sequence[Any], encode: Callable[[Any], Tokens]) -> None:
        self.samples, self.encode = samples, encode

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        return self.encode(self.samples[index])


class CausalLM(Task):
    """Sample i is `train[i]`; `valid` is what `score()` measures on. `model` is any decoder-only model of transformers.

    Batches: `input_ids`, `attention_mask`, `labels` [batch, tokens] (the token after each one, -100 where nothing is to be
    learnt). With `length` every batch has as many tokens: a layout with a pipeline needs equal shapes.

    `answers`: what is to be learnt stands at the samples' ends. Then they end together (and have `position_ids`), and logits are
    computed of the tokens before what is learnt alone: on a small network the vocabulary is most of the work.

    `parts`: a batch goes through the network in so many parts, its shortest samples first, each padded to its own longest: the
    same loss, with less padding where lengths differ much.
    """

    def __init__(
        self,
        model: Any,
        train: Sequence[Tokens],
        valid: Sequence[Tokens],
        *,
        pad_id: int,
        length: int | None = None,
        answers: bool = False,
        parts: int = 1,
    ) -> None:
        self.model, self.train, self.valid, self.pad_id, self.length = model, train, valid, pad_id, length
        self.parts = parts
        self.answers = (
            answers and {"logits_to_keep", "position_ids"} <= inspect.signature(model.forward).parameters.keys()
        )
        self.modules, self.num_samples = {"model": model}, len(train)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        pieces = Pieces("model", logits_of, loss_of)
        self.turns = [Turn("model", self.loss_in_parts, trained, num_labels, pieces)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self.collate([self.train[index] for index in indices.tolist()])

    def collate(self, samples: Sequence[Tokens]) -> Batch:
        ids = self._padded([one.ids for one in samples], self.pad_id)
        learnt = self._padded([list(map(int, one.learnt)) for one in samples], 0)
        mask = self._padded([[1] * len(one.ids) for one in samples], 0)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": next_tokens(ids, learnt)}
        return batch | ({"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if self.answers else {})

    def _padded(self, rows: list[list[int]], value: int) -> Tensor:
        """[batch, tokens], padded on the right, or on the left where samples end together."""
        if not self.answers:
            return torch.from_numpy(pad(rows, value, self.length))
        return torch.from_numpy(pad([row[::-1] for row in rows], value, self.length)).flip(1)

    def count_tokens(self, batch: Batch) -> int:
        """Of prompts too."""
        return int(batch["attention_mask"].sum())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed cross-entropy over the tokens to be learnt, and how many of them were right."""
        return loss_of(*self.predicted(batch))

    def loss_in_parts(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if self.parts == 1:
            return self.loss(batch)
        lengths = batch["attention_mask"].sum(1)
        losses = [
            self.loss(self._of_length(batch, rows, int(lengths[rows].max())))
            for rows in lengths.argsort(stable=True).chunk(self.parts)
        ]
        sums = [one for _, one in losses]
        return torch.stack([loss for loss, _ in losses]).sum(), {
            name: torch.stack([one[name] for one in sums]).sum() for name in sums[0]
        }

    def _of_length(self, batch: Batch, rows: Tensor, length: int) -> Batch:
        """Some rows, without the padding that all of them have."""
        whole = batch["input_ids"].shape[1]
        tokens = slice(whole - length, whole) if self.answers else slice(0, length)
        aligned = (*_GIVEN, "labels")
        return {name: of[rows][:, tokens] if name in aligned else of[rows] for name, of in batch.items()}

    def predicted(self, batch: Batch) -> tuple[Tensor, Batch]:
        """Logits [batch, tokens, vocabulary], and the batch with the labels of these tokens."""
        if not self.answers:
            return logits_of(self.model, batch), batch
        first = int((batch["labels"] != IGNORED).any(0).int().argmax())
        labels = batch["labels"][:, first:]
        logits = self.model(**_given(batch), use_cache=False, logits_to_keep=labels.shape[1]).logits
        return logits, {**batch, "labels": labels}

    def score(self) -> dict[str, float]:
        """Loss, perplexity and token accuracy over the whole validation split."""
        return token_scores(self.loss, self._batches(self.valid), next(self.model.parameters()).device)

    def nlls(self, samples: Sequence[Tokens]) -> list[list[float]]:
        """Negative log-likelihood (nats) of every token of each sample that is to be learnt."""
        device = next(self.model.parameters()).device
        return label_nlls(partial(logits_of, self.model), self._batches(samples), device)

    def _batches(self, samples: Sequence[Tokens]) -> Iterator[Batch]:
        for start in range(0, len(samples), VALID_BATCH):
            yield self.collate([samples[index] for index in range(start, min(start + VALID_BATCH, len(samples)))])


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """[batch, tokens, vocabulary]"""
    return model(**_given(batch), use_cache=False).logits


def _given(batch: Batch) -> Batch:
    return {name: batch[name] for name in _GIVEN if name in batch}


def loss_of(logits: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    return token_loss(logits, batch["labels"])
