"""`genworks history`: every decision about a system's models, or those that stood at some time."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.engines.tracking import ledger
from flows.commands.answer import Answer, table


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    lines = ledger.history(root, arguments.system, arguments.as_of)
    champion = ledger.standing(lines)
    then = f"at {arguments.as_of}" if arguments.as_of else "now"
    rows = [[line.closed, line.action, f"version {line.version}", line.who, line.reason or line.note] for line in lines]
    standing = f"champion {then}: " + (f"version {champion.version}" if champion else "none")
    data = {"champion": champion.as_dict() if champion else None, "lines": [line.as_dict() for line in lines]}
    return Answer(data, "\n".join([*([table(rows)] if rows else []), standing]))
