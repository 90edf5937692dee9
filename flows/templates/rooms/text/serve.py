"""The inference pipeline: a text and how the model continues it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from components.engines.base.errors import BadRecord
from components.engines.base.paths import read_json
from components.engines.generation.decoding import Decoding
from components.engines.generation.text import generate_text
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.nn.device import own_device
from components.engines.serving.pipeline import SETTINGS, Pipeline
from components.SYSTEM.networks import gpt


class Continuer(Pipeline):
    """`{"text": str}` -> `continuation`, `score`: the mean log-probability of the tokens that the model wrote.

    Options override decoding params (`max_new_tokens=8`).
    """

    fields: ClassVar[tuple[str, ...]] = ("continuation", "score")
    example: ClassVar[list[dict[str, Any]]] = [{"text": "today the old baker"}]

    def __init__(self, network: Any, tokenizer: Any, settings: dict[str, Any]) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.decoding, self.max_chars = Decoding(**settings["decoding"]), settings["max_chars"]

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(gpt.load(folder).to(own_device()), load_tokenizer(folder), read_json(folder / SETTINGS))

    def choose(self, options: dict[str, Any]) -> Decoding:
        return self.decoding.changed({**options, "num_return_sequences": 1})

    def read(self, one: dict[str, Any], chosen: Decoding) -> str:
        text = one.get("text")
        if not isinstance(text, str):
            raise BadRecord("no text")
        if len(text) > self.max_chars:
            raise BadRecord("too long", f"{len(text)} characters, more than {self.max_chars}")
        return text

    def answer(self, asked: list[str], chosen: Decoding) -> list[dict[str, Any]]:
        said = generate_text(self.network, self.tokenizer, asked, chosen)
        return [{"continuation": one.text, "score": one.score} for one in said]
