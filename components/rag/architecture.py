"""The two networks' shapes and the prompt they share: the params sections that several stages of this room read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.engines.base.params import Count, Params, Positive
from components.engines.generation.decoding import Decoding


class Encoder(Params):
    """The text embedder: a BERT whose token vectors are averaged. With `init_from` (a hub id or folder of any encoder that
    transformers' AutoModel loads) its shape comes from there."""

    init_from: str | None = None
    width: Positive = 128
    layers: Positive = 2
    heads: Positive = 4
    max_tokens: Positive = 192


class Generator(Params):
    """The reader that writes answers: a Llama. With `init_from` (a hub id or folder of a decoder-only model) its shape and its
    tokenizer come from there."""

    init_from: str | None = None
    width: Positive = 128
    layers: Positive = 3
    heads: Positive = 4
    max_tokens: Positive = 384


class Prompting(Params):
    """How a question is put (serving/prompts.py), and whether its passages are read `apart`, one by one, or `together`
    (serving/reading.py): a small reader learns the first far sooner, a large one can bring passages together. `search_weight`:
    of a passage's score by the search (up to 1) against the log odds of the reader's answering from it, where they are apart.
    `matches`: words that question and passage share are marked, which a small reader needs and a large one does not."""

    reading: Literal["apart", "together"] = "apart"
    search_weight: Annotated[float, Field(ge=0)] = 10.0
    passages: Positive = 4
    max_passage_chars: Positive = 300
    matches: bool = False
    role: str | None = None
    chain_of_thought: bool = False
    few_shot: Count = 0
    user_context: bool = False


class Architecture(Params):
    """Shapes and prompt."""

    encoder: Encoder = Encoder()
    generator: Generator = Generator()
    prompting: Prompting = Prompting()

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for part in (self.encoder, self.generator):
            if part.width % part.heads:
                raise ValueError(f"width {part.width} is not divisible by heads {part.heads}")
        return self


class Serving(Params):
    """How questions are answered: read by `evaluate` and `register` alike, so that what is judged is what is served.

    With `only_supported` an answer is withheld unless a passage that the reader saw holds its words and the names of the question
    (serving/faithfulness.py). For readers that say it in words of their own: false.
    """

    decoding: Decoding
    only_supported: bool = True
    max_chars: Positive = 500
    unknown: str = "No document that you may read tells."
    synonyms: dict[str, list[str]] = Field(default_factory=dict)


def settings_of(serving: Serving, architecture: Architecture) -> dict[str, object]:
    """What stands beside the weights of a version."""
    return {
        **serving.model_dump(mode="json"),
        "prompting": architecture.prompting.model_dump(mode="json"),
        "encoder_tokens": architecture.encoder.max_tokens,
    }
