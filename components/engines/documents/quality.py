"""How well documents were read: errors of characters and words, and of the structure of tables."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from components.engines.documents.page import Table

Relation = tuple[str, str, str]  # two texts, and how the second stands to the first


def edits(found: Sequence[object], true: Sequence[object]) -> int:
    """Levenshtein distance: insertions, deletions and substitutions. O(len × len) time, a row of memory."""
    codes: dict[object, int] = {}
    first, second = (
        np.array([codes.setdefault(one, len(codes)) for one in text], dtype=np.int64) for text in (found, true)
    )
    steps = np.arange(len(second) + 1)
    row = steps.copy()
    for number, code in enumerate(first, 1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (second != code))
        # an insertion costs 1 a step: the running minimum of (value - place) does all of them at once
        row = np.minimum.accumulate(np.concatenate([[number], changed]) - steps) + steps
    return int(row[-1])


def character_errors(found: str, true: str) -> tuple[int, int]:
    """(edits, characters of `true`), both with runs of white space as one space and compatibility forms folded (NFKC)."""
    found, true = plain(found), plain(true)
    return edits(found, true), len(true)


def bag_errors(found: str, true: str) -> tuple[int, int]:
    """(words of `true` that are missing or `found` ones too many, whichever are more; words of `true`): no order is asked."""
    have, want = Counter(plain(found).split()), Counter(plain(true).split())
    return max((want - have).total(), (have - want).total()), want.total()


def plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def adjacencies(table: Table) -> Counter[Relation]:
    """Every text with its nearest neighbours to the right and below (Göbel et al. 2013, ICDAR table competition, § IV).

    Empty cells are looked through; a cell that spans several rows or columns has several neighbours. Texts are compared without
    white space.
    """
    places: dict[tuple[int, int], int] = {}
    texts = ["".join(plain(cell.text).split()).lower() for cell in table.cells]
    for index, cell in enumerate(table.cells):
        if texts[index]:
            for row in range(cell.row, cell.row + cell.rows):
                for column in range(cell.column, cell.column + cell.columns):
                    places.setdefault((row, column), index)
    pairs: set[tuple[int, int, str]] = set()
    by_row, by_column = sorted(places), sorted(places, key=lambda place: (place[1], place[0]))
    for ordered, fixed, word in ((by_row, 0, "right"), (by_column, 1, "below")):
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one[fixed] == other[fixed] and places[one] != places[other]:
                pairs.add((places[one], places[other], word))
    return Counter((texts[one], texts[other], word) for one, other, word in pairs)


def structure_counts(found: Iterable[Table], true: Iterable[Table]) -> tuple[int, int, int]:
    """(relations found that are true, relations found, true relations) over all tables of a document."""
    have: Counter[Relation] = sum((adjacencies(table) for table in found), Counter())
    want: Counter[Relation] = sum((adjacencies(table) for table in true), Counter())
    return (have & want).total(), have.total(), want.total()


def f1(right: int, found: int, true: int) -> float:
    """1 where there was nothing to find and nothing was found."""
    return 1.0 if found == true == 0 else 2 * right / (found + true)
