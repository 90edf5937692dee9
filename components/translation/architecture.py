"""The encoder–decoder's shape: the one params section that several stages of this room share."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from components.engines.base.params import Fraction, Params, Positive


class Architecture(Params):
    """The encoder–decoder. With `init_from` (a hub id or a checkpoint folder) everything else is taken from there."""

    init_from: str | None = None
    source_language: str | None = None  # language codes as the checkpoint's tokenizer knows them (NLLB: eng_Latn)
    target_language: str | None = None
    family: Literal["marian", "bart"] = "marian"
    d_model: Positive = 128
    encoder_layers: Positive = 2
    decoder_layers: Positive = 2
    attention_heads: Positive = 4
    ffn_dim: Positive = 256
    dropout: Fraction = 0.0
    max_positions: Positive = 256

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.d_model % self.attention_heads:
            raise ValueError(f"d_model {self.d_model} is not divisible by attention_heads {self.attention_heads}")
        return self
