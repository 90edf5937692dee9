"""`genworks compare SYSTEM [NAME …]`: run the declared alternatives over their seeds, and judge the bars."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from flows import comparisons, dag, results
from flows.child import Children
from flows.commands.answer import Answer
from flows.interrupt import stopping


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    graph = dag.load(root)
    graph.select([arguments.system])  # refuses an unknown system
    declared = comparisons.read_comparisons(root, arguments.system)
    names = arguments.names or list(declared)
    for name in names:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(f"No comparison is called '{name}'", do=f"{hint}there are {', '.join(declared)}")
    found: dict[str, Any] = {}
    files: list[Path] = []
    children = Children()
    with stopping(children):
        for name in names:
            found[name] = _compare(root, graph, arguments.system, name, declared[name], children)
            files = results.record(root, arguments.system, name, declared[name]["question"], found[name])
    missed = [bar for one in found.values() for bar in one["bars"] if not bar["met"]]
    shown = [_shown(name, one) for name, one in found.items()]
    written = f"written: {', '.join(str(file.relative_to(root)) for file in files)}"
    return Answer(found, "\n".join([*shown, written]), 1 if missed else 0)


def _compare(
    root: Path, graph: dag.Dag, system: str, name: str, one: dict[str, Any], children: Children
) -> dict[str, Any]:
    target = graph.resolve(one["until"], [system])
    measured: dict[str, dict[Any, dict[str, float]]] = {}
    planned = comparisons.trials(root, graph, system, name, one)
    for number, trial in enumerate(planned, start=1):
        label = f"{name} {number}/{len(planned)}: {trial.arm}, seed {trial.seed}"
        print(f"{label}: start", file=sys.stderr)
        figures, ran = comparisons.measure(
            root, system, target, trial, children, lambda line: print(f"  {line}", file=sys.stderr)
        )
        print(f"{label}: {'done' if ran else 'measured before'}", file=sys.stderr)
        measured.setdefault(trial.arm, {})[trial.seed] = figures
    return comparisons.summarise(one, measured)


def _shown(name: str, found: dict[str, Any]) -> str:
    lines = [f"{name}:"]
    for arm, figures in found["arms"].items():
        spreads = (
            f"{metric} {results.shown(one['median'])} ({results.shown(one['min'])} – {results.shown(one['max'])})"
            for metric, one in figures.items()
        )
        lines.append(f"  {arm}: {', '.join(spreads)}")
    for bar in found["bars"]:
        verdict = "met" if bar["met"] else "MISSED"
        lines.append(f"  bar {results.bar_in_words(bar)}: {verdict} with {results.shown(bar['value'])}")
    return "\n".join(lines)
