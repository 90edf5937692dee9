"""Token by token: which tokens are to be learnt, their cross-entropy, and the figures that every task on tokens is scored by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional

from components.engines.training.task import Batch

IGNORED = -100  # label of what is not to be learnt (padding, a prompt): torch's cross-entropy skips it
VALID_BATCH = 128

Loss = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]


def token_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Summed cross-entropy over the labels, and how many of them were right.

    logits: [batch, tokens, vocabulary], labels: [batch, tokens]; in fp32 whatever the network computed in.
    """
    total = functional.cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return total, {"accuracy": (logits.detach().argmax(-1) == labels).sum()}


def num_labels(batch: Batch) -> int:
    """Tokens of a batch that are to be learnt: the weight its loss has in the step."""
    return int((batch["labels"] != IGNORED).sum())


def next_tokens(ids: Tensor, learnt: Tensor) -> Tensor:
    """Labels of a causal model: the token after each one where `learnt` is set for it. All [batch, tokens]."""
    followed = functional.pad(learnt[:, 1:], (0, 1))
    return functional.pad(ids[:, 1:], (0, 1), value=IGNORED).masked_fill(followed == 0, IGNORED)


@torch.no_grad()
def token_scores(loss: Loss, batches: Iterable[Batch], device: torch.device) -> dict[str, float]:
    """Loss, perplexity and token accuracy over all labels of `batches`."""
    total = right = tokens = 0.0
    for batch in batches:
        found, sums = loss({name: tensor.to(device) for name, tensor in batch.items()})
        total, right, tokens = total + found.item(), right + sums["accuracy"].item(), tokens + num_labels(batch)
    return {
        "valid_loss": total / tokens,
        "valid_perplexity": math.exp(min(total / tokens, 50.0)),
        "valid_accuracy": right / tokens,
    }


@torch.no_grad()
def label_nlls(logits: Callable[[Batch], Tensor], batches: Iterable[Batch], device: torch.device) -> list[list[float]]:
    """Negative log-likelihood (nats) of every label, sample by sample: what perplexity is computed from."""
    found: list[list[float]] = []
    for batch in batches:
        labels = batch["labels"].to(device)
        predicted = logits({name: tensor.to(device) for name, tensor in batch.items()})
        losses = functional.cross_entropy(
            predicted.float().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED
        )
        kept = (labels != IGNORED).cpu()
        found += [row[chosen].tolist() for row, chosen in zip(losses.double().cpu(), kept, strict=True)]
    return found
