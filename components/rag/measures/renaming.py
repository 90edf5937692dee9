"""Examples in other names and numbers, so that a small reader learns to read and not the library by heart.

Each name and each number of an example is another one, the same wherever it stands: question, passages and answer still belong
together (substitution as in Longpre et al. 2021, arXiv:2109.05052).
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Sequence

_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+")
_BEGINS = re.compile(r"(?:^|[.!?:;|]\s+|\n\s*)$")


def names_of(texts: Iterable[str]) -> list[str]:
    """Words that stand with a capital within a sentence, and nowhere without one."""
    names: set[str] = set()
    plain: set[str] = set()
    for text in texts:
        for found in _WORD.finditer(text):
            word = found[0]
            if not word[0].isupper():
                plain.add(word)
            elif word[1:].islower() and not _BEGINS.search(text[: found.start()]):
                names.add(word)
    return sorted(name for name in names if name.lower() not in plain)


def misnamed(text: str, question: str, names: Collection[str], rng: random.Random) -> str | None:
    """The text with another name where it stands for one of the question: what it tells is no answer. None if they share none."""
    shared = sorted({*_WORD.findall(text)} & {*_WORD.findall(question)} & {*names})
    others = sorted({*names} - {*_WORD.findall(text)} - {*_WORD.findall(question)})
    if not shared or not others:
        return None
    name, other = rng.choice(shared), rng.choice(others)
    return _WORD.sub(lambda found: other if found[0] == name else found[0], text)


class Renaming:
    """Draws new names for the parts of one example; `names` are all that the library knows."""

    def __init__(self, names: Sequence[str], rng: random.Random) -> None:
        self.names, self.rng = set(names), rng
        self.free = rng.sample(list(names), len(names))
        self.given: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        text = _WORD.sub(lambda found: self._name(found[0]), text)
        return _NUMBER.sub(lambda found: self._number(found[0]), text)

    def _name(self, word: str) -> str:
        if word not in self.names:
            return word
        if word not in self.given:
            self.given[word] = self.free.pop()
        return self.given[word]

    def _number(self, digits: str) -> str:
        if digits not in self.given:
            least = 10 ** (len(digits) - 1) if len(digits) > 1 else 0
            taken = set(self.given.values())
            drawn = next(
                (
                    str(one)
                    for one in (self.rng.randrange(least, 10 ** len(digits)) for _ in range(20))
                    if str(one) not in taken
                ),
                digits,
            )
            self.given[digits] = drawn
        return self.given[digits]
