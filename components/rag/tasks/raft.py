"""RAFT's task: answer from the relevant passage, and be penalised for what irrelevant ones say (arXiv:2403.10131).

To the cross-entropy of the answer comes, at each of its places, -log(1 - p) of the probability p that all words together have
which only irrelevant passages hold (unlikelihood, Welleck et al. 2019, arXiv:1908.04319): the penalty on irrelevant documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.engines.language.causal import CausalLM, Tokens, prompted
from components.engines.language.pairs import pad
from components.engines.language.records import Record
from components.engines.language.tokens import IGNORED, token_loss
from components.engines.training.task import Batch

_LEAST = 1e-6  # of 1 - p: the penalty stays finite
_PARTS = 4  # of a batch: prompts with a table are several times as long as those with a sentence


@dataclass(frozen=True)
class Grounded(Tokens):
    """A prompt with its answer, and the tokens that only irrelevant passages of the prompt hold."""

    irrelevant: list[int]


def encode(tokenizer: Any, max_tokens: int, one: Record) -> Grounded:
    tokens = prompted(tokenizer, one.texts["prompt"], one.texts["answer"], max_tokens)
    irrelevant = set(_ids(tokenizer, one.texts["irrelevant"]))
    allowed = set(_ids(tokenizer, one.texts["relevant"])) | {
        token for token, learnt in zip(tokens.ids, tokens.learnt, strict=True) if learnt
    }
    return Grounded(tokens.ids, tokens.learnt, sorted(irrelevant - allowed))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


class Raft(CausalLM):
    """Batches have `irrelevant` [batch, most] besides: token ids, filled up with the padding's."""

    def __init__(self, model: Any, train: Sequence[Any], valid: Sequence[Any], *, pad_id: int, penalty: float) -> None:
        super().__init__(model, train, valid, pad_id=pad_id, answers=True, parts=_PARTS)
        self.penalty = penalty

    def collate(self, samples: Sequence[Any]) -> Batch:
        batch = super().collate(samples)
        irrelevant = [one.irrelevant or [self.pad_id] for one in samples]
        return {**batch, "irrelevant": torch.from_numpy(pad(irrelevant, self.pad_id))}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits, shown = self.predicted(batch)
        total, sums = token_loss(logits, shown["labels"])
        if self.penalty:
            spread = penalised(logits, shown["labels"], batch["irrelevant"])
            total, sums = total + self.penalty * spread, {**sums, "penalty": spread.detach()}
        return total, sums


def penalised(logits: Tensor, labels: Tensor, irrelevant: Tensor) -> Tensor:
    """Sum over the labels of -log(1 - probability of the irrelevant tokens). logits [batch, tokens, vocabulary], labels
    [batch, tokens], irrelevant [batch, most]."""
    rows, places = (labels != IGNORED).nonzero(as_tuple=True)
    chances = logits[rows, places].float().softmax(-1)  # [labels, vocabulary]
    wrong = torch.zeros_like(chances).scatter_(1, irrelevant[rows], 1.0)  # a token counts once
    return -torch.log((1 - (chances * wrong).sum(-1)).clamp(min=_LEAST)).sum()
