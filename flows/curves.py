"""The curve of a training as charts: its losses, and every score of the validation split."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

ENDING = "_curve.csv"
_VALID = "valid_"
_LOSS = "loss"


def charts(path: Path) -> list[dict[str, Any]]:
    """One chart for the losses, and one for each other score that validation has, with what training knows of the same.

    Columns are `<who>_<what>`: `valid_accuracy` and `model_accuracy` share a chart. Losses that fall by more than ten times
    have a logarithmic axis. What says nothing of how well the model does (gradient norm, learning rate) is left out.
    """
    from flows.charts import lines

    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    subjects = list(dict.fromkeys([_LOSS, *(name.removeprefix(_VALID) for name in columns if name.startswith(_VALID))]))
    stage, found = path.name.removesuffix(ENDING), []
    for subject in subjects:
        names = [name for name in columns if _is_about(name, subject)]
        series = {name: [(float(row["step"]), float(row[name])) for row in rows if row[name]] for name in names}
        series = {name: points for name, points in series.items() if points}
        if series:
            values = [y for points in series.values() for _, y in points]
            logarithmic = subject == _LOSS and min(values) > 0 and max(values) > 10 * min(values)
            title = f"{stage}: {subject.replace('_', ' ')}"
            found.append({"title": title, "svg": lines(series, xlabel="step", logarithmic=logarithmic)})
    return found


def _is_about(name: str, subject: str) -> bool:
    return name == subject or name.partition("_")[2] == subject or (subject == _LOSS and name.endswith(f"_{_LOSS}"))
