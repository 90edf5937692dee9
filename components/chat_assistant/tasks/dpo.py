"""Direct preference optimisation: the policy is its own reward model, beside a reference that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.chat_assistant.tasks.preferred import answer_logps, collate, dpo_loss, num_pairs
from components.chat_assistant.tasks.reading import Pair
from components.engines.language.tokens import VALID_BATCH
from components.engines.training.task import Batch, Task, Turn

FIGURES = ("accuracy", "chosen_logp", "rejected_logp", "chosen_change")


class DirectPreference(Task):
    """Sample i is pair i of `train`; `reference` is the model that training starts from.

    DPO leaves open whether the chosen answer becomes likelier or only the rejected one less so, and the chosen one often falls
    (Pal et al. 2024, arXiv:2402.13228). `chosen_weight` adds that much of the chosen answer's negative log-likelihood per token,
    which keeps it up (Pang et al. 2024, arXiv:2404.19733); `chosen_change` says how far it moved, in nats an answer.
    """

    def __init__(
        self,
        model: Any,
        reference: Any,
        train: Sequence[Pair],
        valid: Sequence[Pair],
        *,
        pad_id: int,
        beta: float,
        label_smoothing: float,
        chosen_weight: float,
    ) -> None:
        self.model, self.reference, self.train, self.valid, self.pad_id = model, reference, train, valid, pad_id
        self.beta, self.label_smoothing, self.chosen_weight = beta, label_smoothing, chosen_weight
        self.modules, self.frozen, self.num_samples = {"model": model}, {"reference": reference}, len(train)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.turns = [Turn("model", self.loss, trained, num_pairs)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return collate([self.train[index] for index in indices.tolist()], self.pad_id)

    def count_tokens(self, batch: Batch) -> int:
        return int(batch["mask"].sum())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed over pairs, with sums of FIGURES."""
        policy = self._logps(self.model, batch)
        with torch.no_grad():
            reference = self._logps(self.reference, batch)
        loss, gap = dpo_loss(policy, reference, self.beta, self.label_smoothing)
        chosen, rejected = policy.detach().chunk(2)
        if self.chosen_weight:
            tokens = batch["answer"].sum(1).chunk(2)[0]
            loss = loss - self.chosen_weight * policy.chunk(2)[0] / tokens
        change = chosen - reference.chunk(2)[0]
        values = ((gap.detach() > 0).float(), chosen, rejected, change)
        return loss.sum(), {name: value.sum() for name, value in zip(FIGURES, values, strict=True)}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        device = next(self.model.parameters()).device
        sums = dict.fromkeys(("loss", *FIGURES), 0.0)
        for start in range(0, len(self.valid), VALID_BATCH):
            batch = collate(self.valid[start : start + VALID_BATCH], self.pad_id)
            loss, found = self.loss({name: tensor.to(device) for name, tensor in batch.items()})
            for name, value in {"loss": loss, **found}.items():
                sums[name] += value.item()
        return {f"valid_{name}": total / len(self.valid) for name, total in sums.items()}

    def _logps(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = model(input_ids=batch["ids"], attention_mask=batch["mask"], use_cache=False).logits
        return answer_logps(logits, batch["ids"], batch["answer"])
