"""What a verb gives back: the same content for people and, with --json, for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """`data` None: the verb printed its JSON itself (line by line)."""

    data: Any
    text: str
    code: int = 0


def table(rows: list[list[str]]) -> str:
    """Columns padded to equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
