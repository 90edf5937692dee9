"""Metrics files as flat figures."""

from __future__ import annotations

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
