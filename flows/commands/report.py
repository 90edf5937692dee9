"""`genworks report`: write a system's page anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.commands.answer import Answer
from flows.report import build_report


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    path = build_report(arguments.system, root)
    return Answer({"report": str(path)}, f"report: {path}")
