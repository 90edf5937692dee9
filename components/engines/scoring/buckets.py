"""Slices of a test set: which bucket an example is in, and a figure per bucket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

EDGES = (5, 10, 20, 40)  # words: the last of each bucket; one open bucket behind them


def length_bucket(num_words: int, edges: Sequence[int] = EDGES) -> str:
    """The bucket of a length: "1-5", "6-10", "11-20", "21-40", "41+" (and "0" for nothing)."""
    if num_words < 0:
        raise ValueError(f"a length cannot be {num_words}")
    if num_words == 0:
        return "0"
    first = 1
    for last in edges:
        if num_words <= last:
            return f"{first}-{last}"
        first = last + 1
    return f"{first}+"


def by_slice(
    slices: Sequence[dict[str, str]], score: Callable[[list[int]], float | dict[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """{slice: {value: {"count": n, …figures}}}; `score` gets the positions of one value's examples.

    A plain number is filed under "score". Values are sorted as numbers where they start with one ("6-10" before "11-20").
    """
    members: dict[str, dict[str, list[int]]] = {}
    for position, values in enumerate(slices):
        for name, value in values.items():
            members.setdefault(name, {}).setdefault(value, []).append(position)
    return {
        name: {
            value: {"count": len(groups[value]), **_figures(score(groups[value]))}
            for value in sorted(groups, key=_order)
        }
        for name, groups in sorted(members.items())
    }


def _figures(scored: float | dict[str, Any]) -> dict[str, Any]:
    return scored if isinstance(scored, dict) else {"score": scored}


def _order(value: str) -> tuple[float, str]:
    digits = value.rstrip("+").partition("-")[0]
    return (float(digits) if digits.isdecimal() else float("inf"), value)
