"""`genworks rollback`: the alias goes back, and the command says which data and code that means."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.commands.answer import Answer
from flows.promote import rollback


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    done = rollback(arguments.system, root, to=arguments.to, reason=arguments.why)
    now = done["champion"]
    left = f"instead of {done['from']}" if done["from"] else "where there was none"
    lines = [
        f"{arguments.system}: the champion is version {now['version']} {left} (ledger line {done['ledger_line']})",
        f"it stands on commit {now['code']}",
        *(f"  {path}  md5 {digest}" for path, digest in now["data"].items()),
    ]
    return Answer(done, "\n".join(lines))
