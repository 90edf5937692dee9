"""The inference pipeline: a question and who asks it -> an answer with citations, or none where nothing readable tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from components.engines.base.errors import BadRecord, UsageError
from components.engines.base.paths import read_json
from components.engines.generation.decoding import Decoding
from components.engines.index.library import Library, View
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.nn.device import own_device
from components.engines.safety.lexicon import PromptLexicon
from components.engines.serving.pipeline import SETTINGS, Pipeline
from components.rag.architecture import Prompting
from components.rag.networks import generator as generators
from components.rag.networks.encoder import Embedder
from components.rag.serving.expansion import Expander
from components.rag.serving.faithfulness import supported
from components.rag.serving.passages import Passage, Remembered, ranked, reranked
from components.rag.serving.prompts import read_so_far
from components.rag.serving.reading import Put, Reader, Reading

LIBRARY, ENCODER, GENERATOR = "library", "encoder", "generator"


@dataclass(frozen=True)
class Asked:
    """A question, the groups of who asks it, and what is known about them."""

    question: str
    groups: tuple[str, ...]
    user: str | None


class Assistant(Pipeline):
    """`{"question": str, "groups": "a,b", "user": str}` -> `answer`, `found` (a document tells), `supported` (a rule finds the
    answer in what it cites), `citations`: document, page, boxes on it in points, chunk and text of each passage cited.

    Without a passage that answers, `answer` says so and `found` is false. Options: `mode` of search, `top_k` chunks.
    """

    fields: ClassVar[tuple[str, ...]] = ("answer", "found", "supported", "citations")
    example: ClassVar[list[dict[str, Any]]] = [
        {"question": "What is the price of the Amber lamp?", "groups": "", "user": ""}
    ]
    options: ClassVar[dict[str, Any]] = {"mode": "hybrid", "top_k": 8}

    def __init__(self, library: Library, network: Any, tokenizer: Any, settings: dict[str, Any]) -> None:
        self.library, self.embed = library, Remembered(library.embed)
        self.prompting = Prompting(**settings["prompting"])
        self.reader = Reader(network, tokenizer, self.prompting, Decoding(**settings["decoding"]))
        self.max_chars, self.unknown = settings["max_chars"], settings["unknown"]
        self.only_supported = settings["only_supported"]
        self.lexicon, self.expander = PromptLexicon(), Expander(settings["synonyms"])

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = read_json(folder / SETTINGS)
        embedder = Embedder.load(folder / ENCODER, settings["encoder_tokens"])
        embedder.network.to(own_device())
        network = generators.load(folder / GENERATOR).to(own_device())
        return cls(Library(folder / LIBRARY, embedder), network, load_tokenizer(folder / GENERATOR), settings)

    def choose(self, options: dict[str, Any]) -> dict[str, Any]:
        chosen = super().choose(options)
        if chosen["mode"] not in ("words", "vectors", "graph", "hybrid") or not 0 < int(chosen["top_k"]) <= 100:
            raise UsageError(
                "mode is words, vectors, graph or hybrid; top_k from 1 to 100", do="change it for this call"
            )
        return chosen

    def read(self, one: dict[str, Any], chosen: Any) -> Asked:
        question = one.get("question")
        if not isinstance(question, str) or not question.strip():
            raise BadRecord("no question")
        if len(question) > self.max_chars:
            raise BadRecord("too long", f"{len(question)} characters, at most {self.max_chars}")
        groups = one.get("groups") or ()
        listed = groups.split(",") if isinstance(groups, str) else groups
        return Asked(
            question.strip(), tuple(str(name).strip() for name in listed if str(name).strip()), one.get("user")
        )

    def answer(self, asked: list[Asked], chosen: Any) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = [{} for _ in asked]
        shown: dict[int, list[Passage]] = {}
        for place, one in enumerate(asked):
            refusal = self.lexicon.refusal(one.question)
            if refusal is not None:
                answers[place] = {"refused": refusal.reason}
                continue
            found = self.passages(one, chosen)[: self.prompting.passages]
            if found:
                shown[place] = found
            else:
                answers[place] = self._nothing()
        places = list(shown)
        read = self.reader.read([_put(asked[place], shown[place]) for place in places])
        for place, reading in zip(places, read, strict=True):
            answers[place] = self._answered(asked[place].question, reading, shown[place])
        return answers

    def pieces(self, asked: Asked, chosen: Any) -> Iterator[str | dict[str, Any]]:
        """The answer's words as they are made, from the moment that it cites a passage; an abstention has none.

        With `only_supported` whole words, while a passage holds all of them; a later word may still take the answer back.
        """
        shown = [] if self.lexicon.refusal(asked.question) else self.passages(asked, chosen)[: self.prompting.passages]
        if not shown or self.reader.decoding.strategy == "beam":
            yield from super().pieces(asked, chosen)
            return
        text, told = "", ""
        (page,) = self.reader.pages([_put(asked, shown)])
        for piece in self.reader.stream(page):
            text += piece
            so_far = read_so_far(text, len(page.numbers), self.prompting)
            if self.only_supported:
                so_far = so_far.rpartition(" ")[0]
                so_far = so_far if _telling(asked.question, so_far, shown) else ""
            if len(so_far) > len(told):
                yield so_far[len(told) :]
                told = so_far
        answer = self._answered(asked.question, self.reader.understood(page, text), shown)
        if answer["found"] and answer["answer"] != told:
            yield answer["answer"][len(told) :]
        yield answer

    def search(self, one: Asked, chosen: dict[str, Any]) -> tuple[View, list[Any]]:
        """Hits among what the asker may read; nothing else is ever looked at."""
        view = self.library.view(one.groups)
        (hits,) = view.search([self.expander(one.question)], int(chosen["top_k"]), chosen["mode"])
        return view, hits

    def passages(self, one: Asked, chosen: dict[str, Any]) -> list[Passage]:
        view, hits = self.search(one, chosen)
        return ranked(one.question, hits, view.words, self.embed, self.prompting.max_passage_chars)

    def reranked(self, one: Asked, chosen: dict[str, Any]) -> list[Any]:
        view, hits = self.search(one, chosen)
        found = ranked(one.question, hits, view.words, self.embed, self.prompting.max_passage_chars)
        return reranked(hits, found)

    def _nothing(self) -> dict[str, Any]:
        return {"answer": self.unknown, "found": False, "supported": False, "citations": []}

    def _answered(self, question: str, reading: Reading, shown: list[Passage]) -> dict[str, Any]:
        answer, cited = reading.answer, reading.cited
        if answer is None:
            return self._nothing()
        telling = _telling(question, answer, shown)
        if not telling and self.only_supported:
            return self._nothing()
        if telling and not set(telling) & set(cited):  # right words from another passage than the one named
            cited = telling[:1]
        return {
            "answer": answer,
            "found": True,
            "supported": bool(set(telling) & set(cited)),
            "citations": [_citation(shown[number - 1]) for number in cited],
        }


def _put(one: Asked, shown: list[Passage]) -> Put:
    return Put(one.question, [passage.text for passage in shown], one.user, [passage.score for passage in shown])


def _telling(question: str, answer: str, shown: list[Passage]) -> list[int]:
    """The numbers, from 1, of the passages that support the answer."""
    sources = (f"{' '.join(one.hit.chunk.path)} {one.text}" for one in shown)
    return [number for number, source in enumerate(sources, 1) if supported(question, answer, source)]


def _citation(passage: Passage) -> dict[str, Any]:
    chunk, entry = passage.hit.chunk, passage.hit.entry
    boxes = [list(box) for box in chunk.boxes]
    return {
        "document": entry.id,
        "name": entry.name,
        "page": chunk.page,
        "boxes": boxes,
        "chunk": chunk.id,
        "text": passage.text,
    }
