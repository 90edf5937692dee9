"""`genworks lineage`: what a model version stands on, down to the source of its data."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.engines.tracking.lineage import format_lineage, lineage
from flows.commands.answer import Answer


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    system, which = named(arguments.model)
    chain = lineage(root, system, which)
    return Answer(chain, format_lineage(chain))


def named(model: str) -> tuple[str, str]:
    """`translation/3`, `translation@previous` or `translation` (its champion) as system and version."""
    for separator in ("/", "@"):
        if separator in model:
            system, which = model.split(separator, 1)
            return system, which
    return model, "champion"
