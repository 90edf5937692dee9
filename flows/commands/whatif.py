"""`genworks whatif`: what a filter would keep at other thresholds, from the scores it stored; no model runs."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.paths import read_json
from flows import dag
from flows.commands.answer import Answer, table

_COLUMNS = ("threshold", "kept", "yield", "precision", "recall", "wrong_kept")


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    graph = dag.load(root)
    graph.select([arguments.system])  # refuses an unknown system
    graph.close()
    folder = root / "reports" / arguments.system
    filters = _read(folder / "filter_scores.csv", arguments.system)
    name = _chosen(arguments.filter, filters, arguments.system)
    rows, figures = filters[name], read_json(folder / "filtering.json")
    current = figures["thresholds"][name] if name else figures["threshold"]
    asked = arguments.threshold or [*_quantiles([score for score, _ in rows]), current]
    data = [{**at(rows, threshold), "current": threshold == current} for threshold in sorted(set(asked))]
    shown = [[_shown(one[name]) for name in _COLUMNS] + ["<- params" if one["current"] else ""] for one in data]
    lines = table([[*_COLUMNS, ""], *shown])
    note = (
        ""
        if all(wrong is not None for _, wrong in rows)
        else "\nprecision and recall: unknown, the source does not tell which are wrong"
    )
    told = {"system": arguments.system, "pairs": len(rows), "thresholds": data}
    return Answer({**told, "filter": name} if name else told, lines + note)


def _chosen(asked: str | None, filters: dict[str, Any], system: str) -> str:
    """The filter whose scores are looked at; "" where there is one without a name. Raises UsageError for another."""
    if asked is None and len(filters) == 1:
        return next(iter(filters))
    if asked not in filters:
        known = ", ".join(filter(None, filters)) or "none: its scores are of one filter"
        wrong = f"has no filter called '{asked}'" if asked else "has several filters"
        raise UsageError(f"{system} {wrong}", do=f"name one with --filter: {known}")
    return asked


def at(rows: list[tuple[float, bool | None]], threshold: float) -> dict[str, Any]:
    """Figures of one threshold over (score, whether the caption is wrong).

    `precision`: of the marked pairs, the share that is wrong; `recall`: of the wrong ones, the share marked; `wrong_kept`: of
    the kept ones, the share that is wrong. None where the truth is unknown or there is nothing to divide by.
    """
    marked = [wrong for score, wrong in rows if score < threshold]
    kept = [wrong for score, wrong in rows if score >= threshold]
    known = all(wrong is not None for _, wrong in rows)
    all_wrong = sum(bool(wrong) for _, wrong in rows)
    caught = sum(bool(wrong) for wrong in marked)
    return {
        "threshold": threshold,
        "kept": len(kept),
        "yield": len(kept) / len(rows),
        "precision": caught / len(marked) if known and marked else None,
        "recall": caught / all_wrong if known and all_wrong else None,
        "wrong_kept": (all_wrong - caught) / len(kept) if known and kept else None,
    }


def _read(path: Path, system: str) -> dict[str, list[tuple[float, bool | None]]]:
    """By filter, where the column `filter` tells several apart."""
    if not path.is_file():
        raise UsageError(
            f"{system} has no stored scores of a filter", where=str(path), do=f"genworks run {system} --until filter"
        )
    with path.open(encoding="utf-8", newline="") as file:
        found: dict[str, list[tuple[float, bool | None]]] = {}
        for row in csv.DictReader(file):
            wrong = bool(int(row["wrong"])) if row["wrong"] else None
            found.setdefault(row.get("filter") or "", []).append((float(row["score"]), wrong))
    if not found:
        raise UsageError("The filter met no pairs", where=str(path), do="look at the funnel of the stages before it")
    return found


def _quantiles(scores: list[float]) -> list[float]:
    """Every tenth part of the scores, rounded."""
    ordered = sorted(scores)
    return [round(ordered[math.floor(tenth * (len(ordered) - 1) / 10)], 3) for tenth in range(1, 10)]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
