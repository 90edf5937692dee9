"""Networks that read a conversation and give numbers: the reward model (one), the safety classifier (one a category)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from components.engines.language.pairs import pad
from components.engines.nn.checkpoints import load_network

BATCH = 128


def on_top_of(language_model: Any, labels: Sequence[str]) -> Any:
    """A sequence classifier of the language model's own kind, on its weights, with a new head; it reads the last token.

    Raises what transformers does for a kind that it has no classifier of.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(**language_model.config.to_dict())
    config.num_labels = len(labels)
    config.id2label, config.label2id = dict(enumerate(labels)), {name: number for number, name in enumerate(labels)}
    made = AutoModelForSequenceClassification.from_config(config)
    made.base_model.load_state_dict(language_model.base_model.state_dict())
    return made.float()


def load(folder: str | Path) -> Any:
    from transformers import AutoModelForSequenceClassification

    return load_network(AutoModelForSequenceClassification, folder, "a sequence classifier")


def scores(network: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """[batch, labels] of token ids [batch, tokens] with padding on either side (mask 0), as if there were none."""
    places = (mask.cumsum(1) - 1).clamp(min=0)
    given = {"position_ids": places} if network.config.model_type != "mpt" else {}  # its bias counts distances alone
    return network(input_ids=ids, attention_mask=mask, use_cache=False, **given).logits.float()


@torch.inference_mode()
def score_all(network: Any, rows: Sequence[list[int]]) -> Tensor:
    """[rows, labels] on the CPU, computed in batches where the network is."""
    device, found = next(network.parameters()).device, []
    network.eval()
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        ids = torch.from_numpy(pad(list(chosen), network.config.pad_token_id)).to(device)
        mask = torch.from_numpy(pad([[1] * len(one) for one in chosen], 0)).to(device)
        found.append(scores(network, ids, mask).cpu())
    return torch.cat(found)
