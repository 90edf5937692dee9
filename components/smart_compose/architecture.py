"""What several stages of this room share: the language model's shape, what becomes of personal data, how suggestions are made."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.engines.base.params import Params, Positive
from components.engines.generation.phrases import PhraseSearch

Family = Literal["gpt2", "xglm", "llama"]


class Architecture(Params):
    """A decoder-only transformer. `family` says how it knows positions: gpt2 by a learnt table, xglm by sines and cosines (its
    feed-forward part has ReLU), llama by rotation (RoPE).

    `max_tokens` is what it reads at once, in training and when it serves; `context_tokens` of them, at most, are for the
    subject and the mail that is answered. With `init_from` (a hub id or folder of a decoder-only model with a byte-level
    tokenizer) everything but these two comes from there.
    """

    init_from: str | None = None
    family: Family = "gpt2"
    width: Positive = 96
    layers: Positive = 2
    heads: Positive = 4
    max_tokens: int = Field(128, ge=16)
    context_tokens: int = Field(64, ge=8)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of twice the heads, {2 * self.heads}")
        if self.context_tokens > self.max_tokens // 2:
            raise ValueError(
                f"context_tokens {self.context_tokens} leave too little of max_tokens {self.max_tokens} for what is typed: "
                "take half of them or less"
            )
        return self


class Personal(Params):
    """`region` (ISO 3166) reads telephone numbers without a country's code.

    With `keep` nothing is replaced: for measuring, on the sample world only, what a model would remember.
    """

    region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "US"
    keep: bool = False


class Debounce(Params):
    """How long a client waits after a keystroke before it asks: between these bounds, as serving/debounce.py says."""

    min_ms: Positive = 10
    max_ms: Positive = 400


class Composing(Params):
    """How suggestions are made. `search` bounds how far a phrase is followed: the long-phrase filter.

    Nothing is suggested that adds less than `min_chars`; nor, unless it is asked for by hand, within a word of which fewer than
    `min_letters` are typed; nor behind a word of more than `max_word_chars`.
    """

    search: PhraseSearch = PhraseSearch()
    min_chars: Positive = 2
    min_letters: Positive = 1
    max_word_chars: Positive = 30
    debounce: Debounce = Debounce()
