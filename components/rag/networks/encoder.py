"""The text embedder: transformers' BERT from scratch, or any encoder from a checkpoint; token vectors are averaged."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.nn.checkpoints import load_network, load_tokenizer
from components.rag.architecture import Encoder


def build(params: Encoder, tokenizer: Any) -> Any:
    """A randomly initialised BertModel; input_ids [batch, tokens] -> last_hidden_state [batch, tokens, width]."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.width,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        intermediate_size=2 * params.width,
        max_position_embeddings=params.max_tokens,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertModel(config, add_pooling_layer=False)


def load(folder: str | Path) -> Any:
    """An encoder from a hub id or folder; safetensors only, no code from the checkpoint. What pools for it is not loaded: tokens
    are averaged here."""
    from transformers import MODEL_MAPPING, AutoConfig, AutoModel

    try:
        kind = MODEL_MAPPING[type(AutoConfig.from_pretrained(str(folder), trust_remote_code=False))]
    except (OSError, ValueError, KeyError):
        kind = AutoModel  # which says what is wrong
    pools = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return load_network(kind, folder, "a text encoder", **({"add_pooling_layer": False} if pools else {}))


class Embedder:
    """Texts -> unit vectors."""

    def __init__(self, network: Any, tokenizer: Any, max_tokens: int) -> None:
        self.network, self.tokenizer = network, tokenizer
        self.max_tokens = min(max_tokens, network.config.max_position_embeddings)

    @classmethod
    def load(cls, folder: Path, max_tokens: int) -> Embedder:
        return cls(load(folder).eval(), load_tokenizer(folder), max_tokens)

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` [batch, tokens]; what is too long is cut."""
        encoded = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def vectors(self, tokens: dict[str, Tensor]) -> Tensor:
        """[batch, width], of length 1."""
        hidden = self.network(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).last_hidden_state  # [batch, tokens, width]
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # [batch, tokens, 1]
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return functional.normalize(mean, dim=-1)

    @torch.inference_mode()
    def __call__(self, texts: list[str], batch_size: int = 64) -> np.ndarray:
        """float32 [texts, width]. Texts of like length share a batch."""
        device = next(self.network.parameters()).device
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        made = np.zeros((len(texts), self.network.config.hidden_size), np.float32)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            tokens = {name: one.to(device) for name, one in self.tokens([texts[place] for place in places]).items()}
            made[places] = self.vectors(tokens).float().cpu().numpy()
        return made
