"""Places in mails where somebody could stop typing: what is measured of suggestions is measured there."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from components.engines.base.seeds import derive
from components.engines.language.records import Record
from components.engines.text.pii import PLACEHOLDERS
from components.smart_compose.serving.trigger import Keystroke

PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))


@dataclass(frozen=True)
class Place:
    """A cursor in a mail; `rest` is what its writer wrote behind it on that line."""

    mail: str
    keystroke: Keystroke
    rest: str

    @property
    def words_left(self) -> int:
        return len(self.rest.split())

    @property
    def where(self) -> str:
        return "within a word" if self.keystroke.word else "before a word"


def cursors(body: str) -> list[int]:
    """Where a cursor can stand: not within what stands for personal data, nor at its end, nor at a line's end."""
    taken = {place for found in PLACEHOLDER.finditer(body) for place in range(found.start() + 1, found.end() + 1)}
    return [place for place in range(len(body)) if place not in taken and body[place] != "\n"]


def at(one: Record, cursor: int) -> Place:
    body = one.texts["body"]
    keystroke = Keystroke(body[:cursor], one.texts["subject"], one.texts["previous"])
    return Place(one.key, keystroke, body[cursor:].split("\n")[0])


def draw_places(records: Iterable[Record], each: int, seed: int) -> list[Place]:
    """`each` places of every mail, fewer where it has fewer; which ones depends on the mail's key alone."""
    found = []
    for one in records:
        possible = cursors(one.texts["body"])
        chosen = random.Random(derive(seed, "places", one.key)).sample(possible, min(each, len(possible)))
        found += [at(one, cursor) for cursor in sorted(chosen)]
    return found


def is_right(rest: str, text: str, *, whole_words: bool = True) -> bool:
    """Whether `text` is what comes next, and, with `whole_words`, ends where a word of it does."""
    return rest.startswith(text) and (not whole_words or len(rest) == len(text) or rest[len(text)].isspace())
