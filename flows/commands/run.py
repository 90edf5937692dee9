"""`genworks run`: bring systems up to date.

When nothing has changed this costs about what `dvc status` does: Prefect is not even imported.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import dag
from flows.commands.answer import Answer, table
from flows.commands.plan import chosen, edit_params, refuse_bad_params, shown

if TYPE_CHECKING:
    from flows.reproduce import Summary


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    before = (root / "params.yaml").read_bytes()
    for edit in edit_params(arguments, root):
        print(edit, file=sys.stderr)
    from flows.leftovers import mend

    for line in mend(root):
        print(line, file=sys.stderr)
    graph = dag.load(root)
    systems = chosen(arguments, graph)
    plans = graph.plan(systems, arguments.until, force=arguments.force)
    if not any(plan.run for plan in plans):
        verdicts = _verdicts(graph, systems, arguments, root)
        if verdicts is not None:
            return _nothing_to_do(plans, systems, verdicts, root)
    refuse_bad_params(root, systems, before)
    print(shown(plans), file=sys.stderr)
    graph.close()
    summary = _flow(arguments, systems, root)
    return Answer(summary.as_dict(), _shown(summary, root), summary.exit_code)


def _verdicts(
    graph: dag.Dag, systems: list[str], arguments: argparse.Namespace, root: Path
) -> dict[str, dict[str, Any]] | None:
    """The gate's standing verdicts; None where a version has not been judged yet, or no report was written."""
    registering = [system for system in systems if f"{system}-register" in graph.stages and not arguments.until]
    if not registering:
        return {}
    if arguments.gate:  # asked for by name: judge again
        return None
    from flows.promote import judged

    verdicts = {}
    for system in registering:
        verdict = judged(system, root)
        if verdict is None or not _report(system, root).exists():
            return None
        verdicts[system] = verdict
    return verdicts


def _report(system: str, root: Path) -> Path:
    return root / "reports" / system / "report.html"


def _nothing_to_do(
    plans: list[dag.StagePlan], systems: list[str], verdicts: dict[str, dict[str, Any]], root: Path
) -> Answer:
    stages = [{"stage": plan.stage, "state": "cached", "seconds": 0.0, "reasons": [], "error": ""} for plan in plans]
    reports = {
        system: str(_report(system, root).relative_to(root)) for system in systems if _report(system, root).exists()
    }
    code = max((verdict["exit_code"] for verdict in verdicts.values()), default=0)
    data = {
        "systems": systems,
        "stages": stages,
        "metrics": {},
        "promotions": verdicts,
        "reports": reports,
        "errors": [],
    }
    lines = [f"Nothing to do: all {len(plans)} stages are up to date"]
    for system, verdict in verdicts.items():
        why = "; ".join(verdict["reasons"])
        lines.append(
            f"{system} version {verdict['candidate']['version']} {verdict['decision']}" + (f": {why}" if why else "")
        )
    lines += [f"report: {root / path}" for path in reports.values()]
    return Answer(data | {"seconds": 0.0, "exit_code": code}, "\n".join(lines), code)


def _flow(arguments: argparse.Namespace, systems: list[str], root: Path) -> Summary:
    """Run the Prefect flow, its stages' lines shown on stderr."""
    from flows.child import Children
    from flows.interrupt import stopping
    from flows.servers import prefect_api, prefect_settings

    os.environ.update(prefect_settings(root))
    os.chdir(root)
    servers = Children()
    with prefect_api(root, servers) as api:
        os.environ["PREFECT_API_URL"] = api.url
        from flows import reproduce  # after the settings: prefect reads them when it is imported

        _show_only_ours()
        api.wait()
        with stopping(reproduce.children):
            state = reproduce.reproduce(
                systems,
                until=arguments.until,
                jobs=arguments.jobs,
                force=arguments.force,
                gate=arguments.gate,
                return_state=True,
            )
            _send_logs()
        summary = state.result(raise_on_failure=False)
    if isinstance(summary, BaseException):
        raise summary
    return summary


class _OurLines(logging.Formatter):
    """Progress as `stage: …`, a stage's own output indented under its name."""

    def format(self, record: logging.LogRecord) -> str:
        stage = getattr(record, "stage", None)
        return f"  {stage} | {record.getMessage()}" if stage else record.getMessage()


def _show_only_ours() -> None:
    """Replace Prefect's terminal lines by ours; its log of the run on the server stays complete."""
    from prefect.logging.configuration import setup_logging

    setup_logging()
    loggers = [logging.getLogger(), *(x for x in logging.Logger.manager.loggerDict.values() if hasattr(x, "handlers"))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if type(handler).__name__ == "PrefectConsoleHandler":
            handler.addFilter(lambda _: False)  # removed, Prefect would set it up again
    ours = logging.StreamHandler(sys.stderr)
    ours.setFormatter(_OurLines())
    ours.addFilter(lambda record: getattr(record, "genworks", False))
    logging.getLogger("prefect").addHandler(ours)


def _send_logs() -> None:
    """Send what Prefect still holds of the run's log while its server is there."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=10)


def _shown(summary: Summary, root: Path) -> str:
    rows = [
        [result.stage, result.state, f"{result.seconds:.1f} s" if result.seconds else "", result.error]
        for result in summary.stages
    ]
    lines = [table(rows)] if rows else []
    for system, figures in summary.metrics.items() if summary.exit_code == 0 else ():
        numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
        lines += ["", f"{system}: " + ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())]
    lines += [verdict["said"] for verdict in summary.promotions.values()]
    lines += [f"report: {root / path}" for path in summary.reports.values()]
    if summary.exit_code == 0:
        lines.append(f"Done in {summary.seconds:.0f} s. Runs and models in the browser: genworks up")
    return "\n".join(lines)
