"""`genworks plan`: what would run and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.engines.base.errors import UsageError
from flows import dag, settings
from flows.commands.answer import Answer
from flows.param_models import check_params


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    graph, systems, edits = prepared(arguments, root)
    plans = graph.plan(systems, arguments.until, force=arguments.force)
    if not edits and any(plan.run for plan in plans):
        check_params(root, systems)
    return Answer([plan.as_dict() for plan in plans], "\n".join([*edits, shown(plans)]))


def prepared(arguments: argparse.Namespace, root: Path) -> tuple[dag.Dag, list[str], list[str]]:
    """The graph, the systems chosen, and what --profile and --set changed in params.yaml, in words.

    Everything that can be refused is refused before the file is written: systems, --until, keys, values and what the
    stages' models say of them.
    """
    changes = [settings.parse_assignment(text) for text in arguments.set]
    graph = dag.load(root)
    systems = chosen(arguments, graph)
    graph.select(systems, arguments.until)
    if arguments.profile:
        changes = settings.profile(root, arguments.profile) + changes
    edit = settings.prepare(root, changes)
    if edit.said:
        check_params(root, list(dict.fromkeys([*systems, *edit.systems])), edit.text)
        edit.write()
        graph = dag.load(root)  # the first one has read the file before
    return graph, systems, [f"params.yaml: {line}" for line in edit.said]


def chosen(arguments: argparse.Namespace, graph: dag.Dag) -> list[str]:
    """The systems named on the command line, or all of them."""
    if arguments.all == bool(arguments.systems):
        known = ", ".join(graph.systems) or "none yet"
        raise UsageError("Name one or more systems, or --all", do=f"known systems: {known}")
    return list(graph.systems) if arguments.all else list(dict.fromkeys(arguments.systems))


def shown(plans: list[dag.StagePlan]) -> str:
    """One line a stage, its reasons below where there are several; of a stage that never ran that is reason enough."""
    lines = []
    for plan in plans:
        mark = "restore" if plan.restore else "run" if plan.run else "cached"
        reasons = [dag.NEVER_RUN] if dag.NEVER_RUN in plan.reasons else plan.reasons
        lines.append(f"{mark:<8} {plan.stage}" + (f": {reasons[0]}" if reasons else ""))
        lines += [f"{'':<8} {'':<{len(plan.stage)}}  {said}" for said in [*reasons[1:], *plan.unknown]]
    running = sum(plan.run for plan in plans)
    return "\n".join([*lines, f"{running} of {len(plans)} stages would run" if running else "Nothing to do"])
