"""Names that MLflow takes: letters, digits and a few signs, no empty path parts, not too long."""

from __future__ import annotations

import re

from components.engines.base.errors import UsageError

LONGEST = 200  # characters: MLflow takes 250, and names get prefixes
_SYSTEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def figure_name(name: str) -> str:
    """A metric's or param's name as MLflow takes it: `slices.length.41+.bleu` is `slices.length.41plus.bleu`.

    Unlike a file's name a metric's may hold any text of the data (a slice's value): other signs become `_`.
    """
    parts = []
    for part in name.replace("+", "plus").split("/"):
        clean = "".join(sign if sign.isalnum() or sign in "_-. :" else "_" for sign in part)
        parts.append(clean if clean.strip(".") else "_")  # MLflow reads `..` and empty parts as a path
    return "/".join(parts)[:LONGEST].rstrip("/") or "_"


def check_system(system: str) -> str:
    """The system's name, if it can be one: it names folders, locks and a registered model. Raises UsageError."""
    if not _SYSTEM.fullmatch(system):
        raise UsageError(
            f"There is no system {system!r}", do="name a system: letters, digits, _ and - (`genworks list` shows them)"
        )
    return system
