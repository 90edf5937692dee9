"""The inference pipeline of translation: split into sentences, translate, guard against loops, join."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

from components.engines.base.paths import read_json
from components.engines.generation.decoding import Decoding
from components.engines.generation.repetition import cut_loop, has_loop
from components.engines.generation.text import generate_text, stream_text
from components.engines.nn.device import own_device
from components.engines.serving.pipeline import SETTINGS, Pipeline
from components.translation.architecture import Architecture
from components.translation.networks import marian as networks


class Translator(Pipeline):
    """`{"text": str}` -> `translation`, `score`, `cut_loops`: texts of any length; empty text stays empty (nothing is made up).

    `score` is the length-normalised log-probability of the least sure sentence (0 for empty text); `cut_loops` counts
    sentences whose repetition was cut. Options override decoding params (`num_beams=1`).
    """

    fields: ClassVar[tuple[str, ...]] = ("translation", "score", "cut_loops")
    example: ClassVar[list[dict[str, Any]]] = [{"text": "the red cat sees the old castle. the dogs do not hide."}]

    def __init__(self, model: Any, tokenizer: Any, settings: dict[str, Any]) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.decoding = Decoding(**settings["decoding"])
        self.architecture = Architecture(**settings["architecture"])
        self.max_words = settings["max_words"]

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = read_json(folder / SETTINGS)
        tokenizer = networks.load_tokenizer(folder, Architecture(**settings["architecture"]))
        return cls(networks.load(folder).to(own_device()), tokenizer, settings)

    def choose(self, options: dict[str, Any]) -> Decoding:
        return self.decoding.changed(options)

    def read(self, one: dict[str, Any], chosen: Decoding) -> list[str]:
        return self.sentences(str(one.get("text") or ""))

    def answer(self, asked: list[list[str]], chosen: Decoding) -> list[dict[str, Any]]:
        flat = [sentence for sentences in asked for sentence in sentences]
        generated = iter(generate_text(self.model, self.tokenizer, flat, chosen) if flat else [])
        return [self._join([next(generated) for _ in sentences]) for sentences in asked]

    def pieces(self, asked: list[str], chosen: Decoding) -> Iterator[str | dict[str, Any]]:
        """The translation as it is decoded: greedily, since a beam is known only at its end, and without a score."""
        greedy = Decoding(strategy="greedy", max_new_tokens=chosen.max_new_tokens)
        said: list[str] = []
        for number, sentence in enumerate(asked):
            space = [" "] if number else []
            for piece in chain(space, stream_text(self.model, self.tokenizer, sentence, greedy)):
                said.append(piece)
                yield piece
        yield {"translation": "".join(said).strip(), "cut_loops": 0}

    def sentences(self, text: str) -> list[str]:
        """Sentences of a text, none longer than the model was trained for."""
        import sentencex

        language = (self.architecture.source_language or "en")[:2]
        found = [part.strip() for part in sentencex.segment(language, text) if part.strip()]
        pieces = []
        for words in (sentence.split() for sentence in found):
            pieces += [" ".join(words[i : i + self.max_words]) for i in range(0, len(words), self.max_words)]
        return [part for piece in pieces for part in self._fitting(piece)]

    def _fitting(self, piece: str) -> list[str]:
        """The piece in as many parts as the network's positions ask for, between words where there are several."""
        positions = getattr(self.model.config, "max_position_embeddings", None)
        if positions is None or len(piece) < 2 or len(self.tokenizer(piece)["input_ids"]) <= positions:
            return [piece]
        words = piece.split()
        middle = len(words) // 2
        parts = [" ".join(words[:middle]), " ".join(words[middle:])] if middle else halves(piece)
        return [fitting for part in parts for fitting in self._fitting(part)]

    def _join(self, translated: list[Any]) -> dict[str, Any]:
        cut = [" ".join(cut_loop(one.text.split())) for one in translated]
        return {
            "translation": " ".join(text for text in cut if text),
            "score": min((one.score for one in translated), default=0.0),
            "cut_loops": sum(has_loop(one.text.split()) for one in translated),
        }


def halves(word: str) -> list[str]:
    return [word[: len(word) // 2], word[len(word) // 2 :]]
