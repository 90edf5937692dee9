"""`genworks doctor`: what could keep the project from working, one line each."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from components.engines.base.errors import printable
from flows.checkup import checkup
from flows.commands.answer import Answer, table


def run(arguments: argparse.Namespace, root: None) -> Answer:
    findings = checkup(Path.cwd())
    failed = any(finding.state == "fail" for finding in findings)
    rows = [[finding.state, finding.what, finding.detail] for finding in findings]
    return Answer([dataclasses.asdict(finding) for finding in findings], printable(table(rows)), 1 if failed else 0)
