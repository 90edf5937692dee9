"""What the gate measured, as tables: whatever its checks hold, one row a metric, slice or bound."""

from __future__ import annotations

from typing import Any

from flows.figures import flat, in_order, shown

_INTERVAL = {"candidate", "champion", "low", "high"}


def tables(checks: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    """Per check `{title, notes: {name: figure}, tables: [{title, columns, rows, folded}]}`.

    Tables of other metrics than the one that is judged are folded away.
    """
    return [_check(name, found if isinstance(found, dict) else {"": found}, metric) for name, found in checks.items()]


def _check(name: str, found: dict[str, Any], metric: str) -> dict[str, Any]:
    notes = {key: shown(value) for key, value in found.items() if not isinstance(value, dict) and value is not None}
    made: list[dict[str, Any]] = []
    if _is_table(found):
        notes = {}
        made.append(_table("", found))
    else:
        for key, value in found.items():
            if isinstance(value, dict) and value:
                made += _tables(key, value, metric)
    return {"title": name, "notes": notes, "tables": made}


def _tables(title: str, found: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    if _is_table(found):
        return [_table(title, found)]
    nested = {key: value for key, value in found.items() if isinstance(value, dict) and value and _is_table(value)}
    plain = {key: value for key, value in found.items() if key not in nested}
    made = [_table(f"{title}: {key}", value, folded=key != metric) for key, value in nested.items()]
    if plain:
        rows = {key: {"": value} for key, value in flat(plain).items()}
        made.append(_table(title, rows, folded=True))
    return sorted(made, key=lambda table: table["folded"])


def _is_table(found: dict[str, Any]) -> bool:
    """A mapping of rows, each a mapping of plain values."""
    rows = list(found.values())
    return bool(rows) and all(
        isinstance(row, dict) and not any(isinstance(v, dict) for v in row.values()) for row in rows
    )


def _table(title: str, rows: dict[str, dict[str, Any]], *, folded: bool = False) -> dict[str, Any]:
    cells = {key: _interval(row) if row.keys() >= _INTERVAL else row for key, row in rows.items()}
    columns = list(dict.fromkeys(name for row in cells.values() for name, value in row.items() if value is not None))
    body = [
        [key, *("" if cells[key].get(name) is None else shown(cells[key][name]) for name in columns)]
        for key in sorted(cells, key=in_order)
    ]
    return {"title": title, "columns": ["", *columns], "rows": body, "folded": folded}


def _interval(row: dict[str, Any]) -> dict[str, Any]:
    """An interval of a difference in the order people read it, with its outcome in words."""
    confidence = f"{100 * row['confidence']:.4g} % interval" if "confidence" in row else "interval"
    outcome = "better" if row.get("better") else "worse" if row.get("worse") else "not decided"
    return {
        "candidate": row["candidate"],
        "champion": row["champion"],
        "difference": f"{row['difference']:+.4g}" if "difference" in row else None,
        confidence: f"{row['low']:+.4g} to {row['high']:+.4g}",
        "examples": row.get("examples"),
        "outcome": outcome,
    }
