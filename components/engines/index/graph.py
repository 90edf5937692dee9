"""A graph of names: two are joined where a chunk tells of both, and the chunk is what joins them.

Names are what begins with a capital inside a sentence, and the headings that chunks stand under. A question about something
that is told of by way of another thing only ("the room of the manager of the depot") is answered over two joints.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import dropwhile

from components.engines.documents.chunking import Chunk
from components.engines.index.words import SMALL

_NAME = re.compile(r"\b[A-ZÄÖÜÉ][\w'’-]+(?:\s+(?:[A-ZÄÖÜÉ][\w'’-]+|(?=[a-z]{3,}\b)[a-z]+))?")
_CAPITALS = re.compile(r"\b[A-ZÄÖÜÉ][\w'’-]+(?:\s+[A-ZÄÖÜÉ][\w'’-]+)*")
_WORDS = re.compile(r"[\w'’-]+")
_FADING = 0.5  # of a chunk's worth with each joint
_MAX_JOINTS = 2
_MAX_DEGREE = 60  # names that are told of everywhere join nothing


def names_in(text: str) -> set[str]:
    """Capitalised runs, and one followed by a noun in lower case (`Amber lamp`), in lower case and without a sentence's first
    small words (`The Amber Depot`)."""
    runs = [match.group() for kind in (_CAPITALS, _NAME) for match in kind.finditer(text)]
    found = {" ".join(dropwhile(lambda word: word.lower() in SMALL, run.split())) for run in runs}
    return {name.lower() for name in found if len(name) > 2 and name[0].isupper()}


class Graph:
    """Names and the chunks that tell of them; chunks are given by their place."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks_of: dict[str, set[int]] = defaultdict(set)
        self.names_of: list[set[str]] = []
        for place, chunk in enumerate(chunks):
            names = names_in(chunk.text) | {title.lower() for title in chunk.path[-1:]}
            self.names_of.append(names)
            for name in names:
                self.chunks_of[name].add(place)

    def search(self, question: str, k: int) -> list[tuple[int, float]]:
        """Chunks near the names of a question: those that tell of one, then those of names told of beside it."""
        lowered = f" {' '.join(_WORDS.findall(question.lower()))} "
        asked = {name for name in self.chunks_of if f" {name} " in lowered}
        asked = {name for name in asked if not any(name != other and name in other for other in asked)}
        scores: dict[int, float] = defaultdict(float)
        near, seen, worth = asked, set(asked), 1.0
        for _ in range(_MAX_JOINTS):
            touched: set[int] = set()
            for name in near:
                places = self.chunks_of[name]
                if len(places) <= _MAX_DEGREE:
                    touched |= places
                    for place in places:
                        scores[place] += worth / len(places)
            near = {name for place in touched for name in self.names_of[place]} - seen
            seen |= near
            worth *= _FADING
        return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]
