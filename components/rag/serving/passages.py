"""Chunks -> passages, which a reader is shown: a sentence, a row of a table with its header, a form; the best for a question."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.engines.documents.chunking import Chunk
from components.engines.index.library import Embed, Hit
from components.engines.index.words import Words, words_of

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-ZÄÖÜ¿¡0-9\"'(])")
_FIELD = re.compile(r"\s*[\w ]{1,30}:\s*\S")
_WORDS_WEIGHT = 0.6  # of shared words against nearness of meaning


@dataclass(frozen=True)
class Passage:
    """A few words of a chunk, and how well they fit the question."""

    text: str
    hit: Hit
    score: float = 0.0


class Remembered:
    """Vectors of texts that come again and again (passages do): each is computed once while it is among the last `size`."""

    def __init__(self, embed: Embed, size: int = 20_000) -> None:
        self.embed, self.size = embed, size
        self._known: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, texts: list[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        made = {text: self._known[text] for text in texts if text in self._known}
        made |= dict(zip(new, self.embed(new), strict=True)) if new else {}
        self._known.update(made)
        while len(self._known) > self.size:
            self._known.popitem(last=False)
        return np.stack([made[text] for text in texts])


def passages_of(chunk: Chunk, max_chars: int) -> list[str]:
    """A table's rows (its title is in each chunk of it already), a form as one, otherwise sentences."""
    lines = [line for line in chunk.text.split("\n") if line.strip()]
    if chunk.kind == "table":
        found = [line for line in lines if ": " in line] or lines
    elif len(lines) >= 2 and sum(bool(_FIELD.match(line)) for line in lines) > len(lines) / 2:
        found = ["; ".join(" ".join(line.split()) for line in lines)]
    elif chunk.kind == "code":
        found = [chunk.text]
    else:
        found = _SENTENCE.split(" ".join(chunk.text.split()))
    return [text[:max_chars] for text in found if text.strip()]


def ranked(
    question: str, hits: Sequence[Hit], words: Words, embed: Embed, max_chars: int, vector: np.ndarray | None = None
) -> list[Passage]:
    """Passages of all hits, the best first: the share of the question's words that they hold, weighted by how much each tells,
    and the cosine of their vectors."""
    found = [Passage(text, hit) for hit in hits for text in passages_of(hit.chunk, max_chars)]
    if not found:
        return []
    asked = {word: words.idf(word) for word in words_of(question)}
    total = sum(asked.values()) or 1.0
    shared = [sum(asked[word] for word in asked.keys() & set(words_of(passage.text))) / total for passage in found]
    vectors = embed([question, *(passage.text for passage in found)] if vector is None else [p.text for p in found])
    query, vectors = (vectors[0], vectors[1:]) if vector is None else (vector, vectors)
    near = vectors @ query
    scores = [_WORDS_WEIGHT * one + (1 - _WORDS_WEIGHT) * float(other) for one, other in zip(shared, near, strict=True)]
    order = sorted(range(len(found)), key=lambda place: (-scores[place], place))
    return [Passage(found[place].text, found[place].hit, scores[place]) for place in order]


def reranked(hits: Sequence[Hit], passages: Sequence[Passage]) -> list[Hit]:
    """Hits in the order of their best passages."""
    best: dict[str, float] = {}
    for passage in passages:
        best.setdefault(passage.hit.chunk.id, passage.score)
    return sorted(hits, key=lambda hit: -best.get(hit.chunk.id, 0.0))
