"""The curve of a training as CSV, for DVC plots and the report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_curve(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One line a row, columns in order of first appearance (scores appear later than losses); no rows: a lone header."""
    columns = list(dict.fromkeys(["step", *(name for row in rows for name in row)]))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
