"""`genworks plan`: what would run and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.engines.base.errors import UsageError
from flows import dag, settings
from flows.commands.answer import Answer
from flows.param_models import check_params


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    before = (root / "params.yaml").read_bytes()
    edits = edit_params(arguments, root)
    graph = dag.load(root)
    systems = chosen(arguments, graph)
    plans = graph.plan(systems, arguments.until, force=arguments.force)
    if any(plan.run for plan in plans):
        refuse_bad_params(root, systems, before)
    return Answer([plan.as_dict() for plan in plans], "\n".join([*edits, shown(plans)]))


def edit_params(arguments: argparse.Namespace, root: Path) -> list[str]:
    """Apply --profile, then --set; returns the edits in words."""
    changes = settings.profile(root, arguments.profile) if arguments.profile else []
    changes += [settings.parse_assignment(text) for text in arguments.set]
    return [f"params.yaml: {edit}" for edit in settings.apply(root, changes)] if changes else []


def refuse_bad_params(root: Path, systems: list[str], before: bytes) -> None:
    """Raise UsageError if a stage would refuse its params; what --set and --profile wrote is then taken back."""
    try:
        check_params(root, systems)
    except UsageError:
        (root / "params.yaml").write_bytes(before)
        raise


def chosen(arguments: argparse.Namespace, graph: dag.Dag) -> list[str]:
    """The systems named on the command line, or all of them."""
    if arguments.all == bool(arguments.systems):
        known = ", ".join(graph.systems) or "none yet"
        raise UsageError("Name one or more systems, or --all", do=f"known systems: {known}")
    return list(graph.systems) if arguments.all else list(dict.fromkeys(arguments.systems))


def shown(plans: list[dag.StagePlan]) -> str:
    """One line a stage, its reasons below where there are several."""
    lines = []
    for plan in plans:
        mark = "restore" if plan.restore else "run" if plan.run else "cached"
        lines.append(f"{mark:<8} {plan.stage}" + (f": {plan.reasons[0]}" if plan.reasons else ""))
        lines += [f"{'':<8} {'':<{len(plan.stage)}}  {reason}" for reason in plan.reasons[1:]]
    running = sum(plan.run for plan in plans)
    return "\n".join([*lines, f"{running} of {len(plans)} stages would run" if running else "Nothing to do"])
