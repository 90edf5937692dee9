"""`genworks promote`: put the newest version to the gate."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.commands.answer import Answer
from flows.promote import promote


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    verdict = promote(arguments.system, arguments.gate, root, reconsider=arguments.reconsider)
    return Answer(verdict.as_dict(), str(verdict), verdict.exit_code)
