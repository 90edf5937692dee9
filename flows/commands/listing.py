"""`genworks list`: systems, their stages, their champions."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.engines.base.errors import printable
from components.engines.base.fingerprint import stages_of
from components.engines.tracking import ledger
from flows.commands.answer import Answer, table


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    rows: list[dict[str, object]] = []
    warnings: list[str] = []
    for system, stages in _stages(root).items():
        registers = f"{system}-register" in stages
        champion = _champion(system, root) if registers else None
        problems = ledger.verify(root, system) if registers else []
        warnings += [f"{system}: not to be trusted: {problem}" for problem in problems]
        rows.append({"system": system, "stages": stages, "champion": champion, "problems": problems})
    shown = [
        [str(r["system"]), f"champion: {r['champion'] or 'none yet'}", " → ".join(_short(r["stages"]))] for r in rows
    ]
    text = "\n".join([table(shown) if shown else "No system yet", *warnings])
    return Answer(rows, printable(text), 1 if warnings else 0)


def _stages(root: Path) -> dict[str, list[str]]:
    """By system, in the order of dvc.yaml; without DVC, which takes a lock: a project may be one that nobody here may write."""
    found: dict[str, list[str]] = {}
    for name in stages_of(root):
        found.setdefault(name.split("-", 1)[0], []).append(name)
    return found


def _champion(system: str, root: Path) -> str | None:
    """The champion's version, from the registry."""
    from flows.promote import champion

    return champion(system, root)


def _short(stages: object) -> list[str]:
    return [name.split("-", 1)[-1] for name in stages] if isinstance(stages, list) else []
