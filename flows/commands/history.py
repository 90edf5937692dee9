"""`genworks history`: every decision about a system's models, or those that stood at some time."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.engines.base.errors import printable
from components.engines.tracking import ledger
from flows.commands.answer import Answer, table
from flows.project import require_system


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    lines = ledger.history(root, arguments.system, arguments.as_of)
    if not lines:  # of a system that dvc.yaml no longer has, the record still stands
        require_system(root, arguments.system)
    champion = ledger.standing(lines)
    then = f"at {arguments.as_of}" if arguments.as_of else "now"
    rows = [[line.when, line.action, f"version {line.version}", line.who, line.reason] for line in lines]
    standing = f"champion {then}: " + (f"version {champion.version}" if champion else "none")
    problems = ledger.verify(root, arguments.system)
    warnings = [f"not to be trusted: {problem}" for problem in problems]
    data = {"champion": champion.as_dict() if champion else None, "lines": [line.as_dict() for line in lines]}
    text = printable("\n".join([*([table(rows)] if rows else []), standing, *warnings]))
    return Answer(data | {"problems": problems}, text, 1 if problems else 0)
