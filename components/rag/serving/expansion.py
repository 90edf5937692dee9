"""Query expansion: words that mean nearly the same join the question, so that documents which use those are found too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.engines.index.words import words_of


class Expander:
    """`synonyms`: word -> words, in one direction. Without any, a question stays as it is."""

    def __init__(self, synonyms: Mapping[str, Sequence[str]]) -> None:
        self.synonyms = {word.lower(): tuple(others) for word, others in synonyms.items()}

    def __call__(self, question: str) -> str:
        asked = words_of(question)
        more = [other for word in asked for other in self.synonyms.get(word, ()) if other.lower() not in asked]
        return " ".join([question, *dict.fromkeys(more)])
