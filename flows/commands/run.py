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

from components.engines.base.errors import StageError
from flows import conditions, dag
from flows.commands.answer import Answer
from flows.commands.plan import prepared, shown
from flows.ending import after_run, nothing_to_do
from flows.param_models import check_params

if TYPE_CHECKING:
    from flows.pipeline import Summary


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    from flows.leftovers import mend
    from flows.sweeping import sweep

    for line in [*mend(root), *sweep(root)]:
        print(line, file=sys.stderr)
    graph, systems, edits = prepared(arguments, root)
    for edit in edits:
        print(edit, file=sys.stderr)
    plans = graph.plan(systems, arguments.until, force=arguments.force)
    for plan in plans:
        for said in plan.unknown:
            print(f"{plan.stage}: {said}", file=sys.stderr)
    if not any(plan.run for plan in plans):
        verdicts = _verdicts(graph, systems, arguments, root)
        if verdicts is not None:
            return _nothing_to_do(plans, systems, verdicts, root)
    if not edits:
        check_params(root, systems)
    conditions.require(root, registers=any(plan.stage.endswith("-register") for plan in plans if plan.run))
    print(shown(plans), file=sys.stderr)
    graph.close()
    summary = _flow(arguments, systems, root)
    return Answer(summary.as_dict(), after_run(summary, root), summary.exit_code)


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
    text = nothing_to_do(plans, verdicts, [root / path for path in reports.values()], root)
    return Answer(data | {"seconds": 0.0, "exit_code": code}, text, code)


def _flow(arguments: argparse.Namespace, systems: list[str], root: Path) -> Summary:
    """Run the Prefect flow, its stages' lines shown on stderr."""
    from flows.child import Children
    from flows.interrupt import stopping
    from flows.servers import prefect_api, prefect_settings

    os.environ.update(prefect_settings(root))
    os.chdir(root)
    servers = Children()
    with prefect_api(root, servers) as api:
        os.environ.update(api.environment())
        import httpx

        from flows import pipeline  # after the settings: prefect reads them when it is imported

        _show_only_ours()
        api.wait()
        with stopping(pipeline.children) as stop:
            pipeline.on_sigterm = stop
            try:
                state = pipeline.pipeline(
                    systems,
                    until=arguments.until,
                    jobs=arguments.jobs,
                    force=arguments.force,
                    gate=arguments.gate,
                    return_state=True,
                )
                _send_logs()
                summary = state.result(raise_on_failure=False)
            except httpx.TransportError as error:
                summary = _outcome_without_server(pipeline.ended, api.url, error)
    if isinstance(summary, BaseException):
        raise summary
    return summary


def _outcome_without_server(ended: list[Summary], url: str, error: Exception) -> Summary:
    """What the run came to, where Prefect's server went away before it could be told."""
    if not ended:
        raise StageError(f"Prefect's server went away: {error}", where=url, do="run again: finished stages are kept")
    print(f"Prefect's server went away ({error}): this run is not recorded there", file=sys.stderr)
    return ended[-1]


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
