"""Metrics files as flat figures, and figures as people read them."""

from __future__ import annotations

import re
from typing import Any


def flat(figures: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested figures by dotted name."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def shown(value: Any) -> str:
    """A figure as a person reads it."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e6:
            return f"{value:,.0f}"
        return f"{value:.4g}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def in_order(name: str) -> list[tuple[bool, float, str]]:
    """A key to sort names by that hold numbers, as people count: 1-5, 6-10, 11-20, 41+; guidance 3 before guidance 10."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", name)
    return [(True, 0.0, part) if not part[0].isdigit() else (False, float(part), "") for part in parts]
