"""Is what was said told by the source it names? Checked by rules, so that the same claim has the same verdict every time.

A claim is a question with its answer. It is supported if every number and every word of the answer that carries meaning stands in
the source, and the source is about what the question asks about: it, or the headings above it, hold the names of the question.
"""

from __future__ import annotations

import re
import unicodedata

from components.engines.index.words import SMALL, words_of

_NAME = re.compile(r"\b[A-ZÄÖÜ][\w'’-]+")


def supported(question: str, answer: str, source: str) -> bool:
    held = set(words_of(_plain(source)))
    said = [word for word in words_of(_plain(answer)) if word not in SMALL]
    if not said or not all(word in held for word in said):
        return False
    names = {
        name.lower() for name in _NAME.findall(_plain(question)[1:])
    }  # the first word begins with a capital anyway
    return names <= held


def consistency(answers: list[str | None]) -> float:
    """Share of samples that say what most of them say."""
    said = [" ".join(words_of(answer or "")) for answer in answers]
    return max(map(said.count, said)) / len(said) if said else 0.0


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text)
