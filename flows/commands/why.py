"""`genworks why STAGE`: the module, library, param or input that would make it run."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows import dag
from flows.commands.answer import Answer


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    plan = dag.why(root, arguments.stage)
    if plan.run:
        lines = [f"{plan.stage} would run:", *(f"- {reason}" for reason in plan.reasons)]
    else:
        lines = [f"{plan.stage} is up to date: nothing it depends on has changed"]
    return Answer(plan.as_dict(), "\n".join([*lines, *(f"- {said}" for said in plan.unknown)]))
