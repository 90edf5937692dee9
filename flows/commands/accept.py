"""`genworks accept STAGE`: a code change that cannot alter the results is put on record, and reruns nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.engines.base import fingerprint
from components.engines.base.errors import UsageError
from flows import dag
from flows.commands.answer import Answer


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    if not arguments.why.strip():
        raise UsageError("An acceptance needs a reason", do='--why "why the results cannot change"')
    graph = dag.load(root)
    name = graph.resolve(arguments.stage)
    before = graph.recorded_fingerprint(name)
    if before is None:
        raise UsageError(
            f"{name} has never run, so there is nothing to accept", do=f"genworks run {name.split('-')[0]}"
        )
    line = fingerprint.record_acceptance(
        root, name, before, fingerprint.current(root)[name], why=arguments.why, who=arguments.who
    )
    changes = "; ".join(fingerprint.describe_changes(line["changes"]))
    return Answer(line, f"{name}: accepted as harmless by {line['who']}: {changes} ({fingerprint.ACCEPTED}; commit it)")
