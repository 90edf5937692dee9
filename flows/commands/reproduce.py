"""`genworks reproduce SYSTEM[/VERSION]`: make a model version again, from its commit, and compare every hash."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components.engines.tracking.lineage import lineage
from flows.child import Children
from flows.commands.answer import Answer, table
from flows.commands.lineage import named
from flows.interrupt import stopping
from flows.reproduce import reproduce


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    system, which = named(arguments.model)
    chain = lineage(root, system, which)
    children = Children()
    with stopping(children):
        found = reproduce(root, chain, children, lambda line: print(line, file=sys.stderr))
    rows = [
        [one["path"], "equal" if one["equal"] else "DIFFERENT", f"{one['recorded']} → {one['rebuilt']}"]
        for one in found
    ]
    equal = sum(one["equal"] for one in found)
    name = f"{chain['system']} version {chain['version']}"
    lines = [table(rows), f"{name}: {equal} of {len(found)} artefacts came out equal"]
    if chain["git"]["dirty"]:
        lines.append("It was registered with uncommitted changes, so its commit does not hold all of its code.")
    data = {"system": system, "version": chain["version"], "commit": chain["git"]["commit"], "artefacts": found}
    return Answer(data, "\n".join(lines), 0 if equal == len(found) else 1)
