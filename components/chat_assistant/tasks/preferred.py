"""Batches of preferences, and the losses on them: reward with a margin, and DPO."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from components.chat_assistant.tasks.reading import Pair
from components.engines.language.pairs import pad
from components.engines.training.task import Batch


def collate(pairs: Sequence[Pair], pad_id: int) -> Batch:
    """`ids`, `mask`, `answer` [2 · pairs, tokens]: first all chosen ones, then all rejected; `answer` marks the answer's tokens.
    `margin` [pairs]."""
    rows = [
        [one.prompt, answer] for side in ("chosen", "rejected") for one in pairs for answer in (getattr(one, side),)
    ]
    return {
        "ids": torch.from_numpy(pad([prompt + answer for prompt, answer in rows], pad_id)),
        "mask": torch.from_numpy(pad([[1] * (len(prompt) + len(answer)) for prompt, answer in rows], 0)),
        "answer": torch.from_numpy(pad([[0] * len(prompt) + [1] * len(answer) for prompt, answer in rows], 0)),
        "margin": torch.tensor([one.margin for one in pairs]),
    }


def num_pairs(batch: Batch) -> int:
    return len(batch["margin"])


def margin_loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """−log σ(r_chosen − r_rejected − m) of each pair (Touvron et al. 2023, arXiv:2307.09288, eq. 2). All [pairs]."""
    return -logsigmoid(chosen - rejected - margin)


def dpo_loss(policy: Tensor, reference: Tensor, beta: float, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """(loss, implicit reward of chosen less that of rejected), each [pairs], from log-probabilities of whole answers, [2 ·
    pairs].

    −log σ(β · Δ) (Rafailov et al. 2023, arXiv:2305.18290, eq. 7); where a share `label_smoothing` of the labels is wrong,
    conservative DPO weighs the other order by it (Mitchell 2023).
    """
    chosen, rejected = (policy - reference).chunk(2)
    gap = beta * (chosen - rejected)
    return -(1 - label_smoothing) * logsigmoid(gap) - label_smoothing * logsigmoid(-gap), gap


def answer_logps(logits: Tensor, ids: Tensor, answer: Tensor) -> Tensor:
    """Log-probability of each answer's tokens together, [batch], from logits [batch, tokens, vocabulary]."""
    return (token_logps(logits[:, :-1], ids[:, 1:]) * answer[:, 1:]).sum(1)


def token_logps(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each id under the logits at its place, [batch, tokens], in fp32."""
    logits = logits.float()
    return logits.gather(2, ids.unsqueeze(2)).squeeze(2) - logits.logsumexp(-1)
