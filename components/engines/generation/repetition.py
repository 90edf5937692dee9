"""Looping output: an n-gram that repeats at once, again and again, as models do when they lose the thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def find_loop(tokens: Sequence[object], *, max_ngram: int = 16, min_repeats: int = 4) -> tuple[int, int, int] | None:
    """(start, n, end) of the first loop: `tokens[start:end]` has period n ≤ `max_ngram` and holds at least `min_repeats`
    whole periods. Shortest n first; None where there is no loop. Words and token ids work alike.
    """
    if max_ngram < 1 or min_repeats < 2:
        raise ValueError(f"a loop needs max_ngram ≥ 1 and min_repeats ≥ 2, not {max_ngram} and {min_repeats}")
    for n in range(1, min(max_ngram, len(tokens) // min_repeats) + 1):
        run = 0  # how many tokens in a row equal the one n before them
        for position in range(n, len(tokens) + 1):
            if position < len(tokens) and tokens[position] == tokens[position - n]:
                run += 1
                continue
            if run >= n * (min_repeats - 1):
                return position - run - n, n, position
            run = 0
    return None


def has_loop(tokens: Sequence[object], *, max_ngram: int = 16, min_repeats: int = 4) -> bool:
    """Whether an n-gram repeats `min_repeats` times or more in a row."""
    return find_loop(tokens, max_ngram=max_ngram, min_repeats=min_repeats) is not None


def cut_loop(tokens: Sequence[T], *, max_ngram: int = 16, min_repeats: int = 4) -> list[T]:
    """The tokens with every loop reduced to its first period (and without the broken period at its end).

    What has no loop is returned as it is; the result never has one.
    """
    kept = list(tokens)
    while (loop := find_loop(kept, max_ngram=max_ngram, min_repeats=min_repeats)) is not None:
        start, n, end = loop
        kept[start + n : end] = []
    return kept
