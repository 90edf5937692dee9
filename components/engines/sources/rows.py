"""What every reader gives: rows as dicts, and what could not be read as `Unreadable`; and what counts as text in a cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.engines.base.errors import BadRecord, printable


@dataclass(frozen=True)
class Row:
    """One record: `line` is the first physical line in text files, the record's number elsewhere (both from 1)."""

    line: int
    cells: dict[str, Any]


@dataclass(frozen=True)
class Unreadable:
    line: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Table:
    """The columns of a file (None where each record names its own) and its rows, read lazily."""

    columns: list[str] | None
    rows: Iterator[Row | Unreadable]


def has_broken_text(value: Any) -> bool:
    """Whether a value holds a lone surrogate: a byte that was no UTF-8, or half of a JSON escape pair."""
    if isinstance(value, str):
        return any("\ud800" <= sign <= "\udfff" for sign in value) if not value.isascii() else False
    if isinstance(value, dict):
        return any(has_broken_text(item) for item in value.values())
    return isinstance(value, list) and any(has_broken_text(item) for item in value)


def text_of(value: Any, name: str) -> str:
    """The text in a cell called `name`: a string, or bytes that are UTF-8.

    Raises BadRecord for anything else: `str()` of a number, an object or NaN reads like text and is none.
    """
    if isinstance(value, bytes | bytearray):
        try:
            value = bytes(value).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadRecord("broken UTF-8", f"'{name}': {shorten(bytes(value))}") from None
    if not isinstance(value, str):
        raise BadRecord("no text", f"'{name}' is {type(value).__name__}: {shorten(value)}")
    if "\0" in value:
        raise BadRecord("no text", f"'{name}' holds NUL characters, as UTF-16 does: {shorten(value)}")
    if has_broken_text(value):
        raise BadRecord("broken UTF-8", f"'{name}': {shorten(value)}")
    return value


def shorten(text: object) -> str:
    """A record's text for the quarantine list, printable and at most 200 characters."""
    try:
        shown = printable(str(text)[:400])
    except RecursionError:
        shown = f"a {type(text).__name__} nested too deeply to show"
    return shown if len(shown) <= 200 else shown[:199] + "…"
