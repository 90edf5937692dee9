"""`genworks list`: systems, their stages, their champions."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows import dag
from flows.commands.answer import Answer, table


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    graph = dag.load(root)
    rows = []
    for system, stages in graph.systems.items():
        champion = _champion(system, root) if f"{system}-register" in stages else None
        rows.append({"system": system, "stages": stages, "champion": champion})
    shown = [
        [str(r["system"]), f"champion: {r['champion'] or 'none yet'}", " → ".join(_short(r["stages"]))] for r in rows
    ]
    return Answer(rows, table(shown) if shown else "No system yet")


def _champion(system: str, root: Path) -> str | None:
    """The champion's version, from the registry."""
    from flows.promote import champion

    return champion(system, root)


def _short(stages: object) -> list[str]:
    return [name.split("-", 1)[-1] for name in stages] if isinstance(stages, list) else []
