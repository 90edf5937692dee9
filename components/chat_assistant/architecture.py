"""What several stages of this room share: the network's shape, how an aligned model's training starts, how questions are
answered."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.engines.base.params import Fraction, Params, Positive
from components.engines.generation.decoding import Decoding
from components.engines.nn.lora import Lora
from components.engines.training.stage import Trained

Family = Literal["llama", "gpt2", "mpt"]
Policy = Literal["sft", "dpo", "ppo"]


class Architecture(Params):
    """A decoder-only transformer. `family` says how it knows positions: llama by rotation (RoPE), gpt2 by a learnt table, mpt
    by a bias that grows with the distance (ALiBi, arXiv:2108.12409).

    `max_tokens` is what it reads at once, in training and when it serves. `key_heads` fewer than `heads` share keys and values
    among them (grouped-query attention, arXiv:2305.13245; llama alone). With `init_from` (a hub id or folder of a decoder-only
    model with a byte-level tokenizer) everything but `max_tokens` comes from there.
    """

    init_from: str | None = None
    family: Family = "llama"
    width: Positive = 96
    layers: Positive = 3
    heads: Positive = 4
    key_heads: Positive = 2
    max_tokens: int = Field(96, ge=32)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of twice the heads, {2 * self.heads}")
        if self.heads % self.key_heads:
            raise ValueError(f"key_heads {self.key_heads} do not divide heads {self.heads}")
        return self


class Adapted(Trained):
    """Training of the whole network, or, with `lora`, of low-rank adapters that are merged when it is done."""

    lora: Lora | None = None


class Safety(Params):
    """A request, or an answer, is refused from this probability of harm on: one minus that of `harmless`."""

    input_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    output_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Answering(Params):
    """How questions are answered: by which model, by which strategy, and the best of how many by the reward model.

    `system` is a message that stands before conversations that bring none of their own.
    """

    policy: Policy = "ppo"
    decoding: Decoding = Decoding()
    best_of: Annotated[int, Field(ge=1, le=64)] = 4
    system: str | None = None
    safety: Safety = Safety()


class Source(Params):
    """Where records of one kind come from: `sample`, or a path, glob, URL or `hf://` data set of JSON lines, JSON, CSV or
    Parquet."""

    source: str = "sample"
    format: str | None = None
    limit: Positive | None = None


class Kept(Params):
    """Which share of the questions is kept for validation and for the test; what is asked decides, so that equal questions stay
    together, of whatever kind the record is."""

    valid_fraction: Fraction = 0.05
    test_fraction: Fraction = 0.1
    seed: int = 0
