"""The language model's shape: the one params section that several stages of this room share."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from components.engines.base.params import Params, Positive


class Architecture(Params):
    """A GPT-2. With `init_from` (a hub id or a folder of any decoder-only model) everything but `max_tokens` comes from there."""

    init_from: str | None = None
    width: Positive = 64
    layers: Positive = 2
    heads: Positive = 4
    max_tokens: Positive = 64

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self
