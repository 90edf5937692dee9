"""Prompts against the phrases of lexicon.yaml, by categories of harm.

An entry is a phrase: words in order, each in all its inflections (Snowball stems, `irregular` forms).

    =word     this form only                 word*    any ending
    <class>   any phrase of that class       ..       up to three words, none of which opens another phrase (`with`, `of`, …)

`A & B` asks for both, anywhere in the prompt; `A & not B` is void if B stands in it.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import snowballstemmer

from components.engines.base.errors import UsageError
from components.engines.base.params import parse_yaml
from components.engines.safety.wording import plain, readings, spaced_out, words

_ENGLISH = snowballstemmer.stemmer("english")
_SHORTEST_STEM = 4  # letters of a word that is looked for inside letters that stand apart


@dataclass(frozen=True)
class Refusal:
    """Why nothing is made: the category or concept, and the words for the user."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Part:
    """One side of an `&`: what is searched in a text of `form/stem ` tokens, and in letters that stood apart."""

    wanted: bool
    pattern: re.Pattern[str]
    solid: frozenset[str]

    def holds(self, text: str, runs: Sequence[str]) -> bool:
        found = self.pattern.search(text) is not None or any(
            word == run or (len(word) >= _SHORTEST_STEM and word in run) for run in runs for word in self.solid
        )
        return found is self.wanted


class PromptLexicon:
    """The categories in their order, with an operator's own phrases by category (`extra_words`)."""

    def __init__(self, extra_words: Mapping[str, Sequence[str]] | None = None) -> None:
        extra, known = dict(extra_words or {}), _written()["categories"]
        if unknown := extra.keys() - known.keys():
            raise UsageError(
                f"There is no category of harm called {', '.join(sorted(unknown))}", do=f"use {', '.join(known)}"
            )
        self._harmless = re.compile("|".join(_sequence(phrase) for phrase in _written()["harmless"]))
        self._categories = [
            (Refusal(name, harm["reason"]), _rules(harm["entries"], [_own(one) for one in extra.get(name, ())]))
            for name, harm in known.items()
        ]

    def refusal(self, prompt: str) -> Refusal | None:
        """The first category that the prompt falls into, however it is spelt, or None."""
        texts, runs = [self._harmless.sub("-/- ", _tokens(reading)) for reading in readings(prompt)], spaced_out(prompt)
        for refusal, rules in self._categories:
            if any(all(part.holds(text, runs) for part in rule) for text in texts for rule in rules):
                return refusal
        return None


@cache
def _written() -> dict[str, Any]:
    """lexicon.yaml, read by the loader of this package: in a registered model that one refuses files that were altered."""
    data = pkgutil.get_data(__package__, "lexicon.yaml")
    assert data is not None
    return parse_yaml(data)


@cache
def _stem(word: str) -> str:
    return _ENGLISH.stemWord(_written()["irregular"].get(word, word))


def _tokens(reading: str) -> str:
    return "".join(f"{word}/{_stem(word)} " for word in reading.split())


def _own(phrase: str) -> str:
    """An operator's phrase as an entry."""
    return " ".join(words(plain(phrase))) + ("*" if phrase.rstrip().endswith("*") else "")


def _rules(entries: Sequence[str], own: Sequence[str]) -> list[tuple[_Part, ...]]:
    """One rule of all entries that have a single side, since one search is faster than hundreds, and one for each other."""
    single = [entry for entry in (*entries, *own) if "&" not in entry]
    return [
        (_part(*single),),
        *(tuple(_part(side) for side in entry.split(" & ")) for entry in entries if "&" in entry),
    ]


@cache
def _part(*sides: str) -> _Part:
    phrases = [side.removeprefix("not ") for side in sides]
    pattern = re.compile("|".join(_sequence(phrase) for phrase in phrases))
    return _Part(phrases == list(sides), pattern, frozenset().union(*map(_solid, phrases)))


def _sequence(phrase: str) -> str:
    """A phrase as a regular expression over tokens."""
    parts = phrase.split()
    gap = rf"(?:(?!(?:{'|'.join(_written()['openers'])})/)[^ ]+ ){{0,3}}"
    found = ""
    for at, part in enumerate(parts):
        # the object of a verb is not the owner of its object: "kill the neighbour's lights"
        owner = "(?!s/)" if ".." in parts[:at] and parts[at + 1 : at + 2] != ["s"] else ""
        found += gap if part == ".." else _word(part) + owner
    return "(?<![^ ])" + found


@cache
def _word(part: str) -> str:
    if part.startswith("<"):
        members = _written()["classes"][part[1:-1]]
        return f"(?:{'|'.join(_sequence(member) for member in members)})"
    if part.startswith("="):
        return f"{part[1:]}/[^ ]+ "
    if part.endswith("*"):
        return f"{part[:-1]}[^ ]* "
    return f"[^ /]+/{_stem(part)} "


@cache
def _solid(phrase: str) -> frozenset[str]:
    """The words that letters set apart may hide: `n u d e`."""
    if phrase.startswith("<") and " " not in phrase:
        return frozenset().union(*map(_solid, _written()["classes"][phrase[1:-1]]))
    return frozenset() if "<" in phrase or ".." in phrase else frozenset({re.sub("[ =*]", "", phrase)})
