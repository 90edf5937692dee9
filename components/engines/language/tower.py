"""A text encoder from scratch: a CLIP text tower trained to tell the next token (Radford et al. 2018, "Improving Language
Understanding by Generative Pre-Training"). Its states know what came before them, as a denoiser needs: which of two directions
is the first. In an encoder trained by filling in spans that is hardly found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn


def build_tower(tokenizer: Any, *, width: int, layers: int, heads: int, max_tokens: int) -> Any:
    """A randomly initialised CLIPTextModel; input_ids [n, tokens] -> last_hidden_state [n, tokens, width], looking back only."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


class NextToken(nn.Module):
    """The tower as a language model: input_ids [n, tokens] -> `logits` [n, tokens, vocabulary], by the vectors that tokens are
    read as. Padding stands on the right, which nothing before it sees."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower, self.config = tower, tower.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = False) -> Any:
        states = self.tower(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SimpleNamespace(logits=states @ self.tower.get_input_embeddings().weight.T)
