"""The flow: one Prefect task per stage of dvc.yaml, then promotion and report.

Order comes from dvc.yaml; Prefect gives parallelism, retries, schedules and sight. Each stage is run by DVC itself, so a run
of this flow and `dvc repro` leave the same dvc.lock.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed, State
from prefect.tasks import exponential_backoff

from components.engines.base.errors import GenworksError
from components.engines.tracking.abandoned import settle_left_runs
from components.engines.tracking.runs import SETTLED_BY_FLOW
from components.engines.tracking.store import store_of
from flows import dag
from flows.child import Children
from flows.execute import Outcome, StageFailed, run_stage
from flows.figures import flat
from flows.leftovers import mend
from flows.project import open_project

RETRIES = 2
SECONDS_BEFORE_RETRY = 2.0
SHORT_STAGE_SECONDS = 20.0  # a stage that runs longer tells MLflow itself while it runs
OURS = {"genworks": True}  # marks log records that the command line shows


@dataclass
class StageResult:
    """How one stage of a run ended: done, cached, failed, or blocked by a failure upstream."""

    stage: str
    state: str
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)
    error: str = ""


@dataclass
class Summary:
    """What a run did; `exit_code` is 1 if a stage or a gate failed."""

    systems: list[str]
    stages: list[StageResult] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    promotions: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        failed = any(stage.state in ("failed", "blocked") for stage in self.stages)
        refused = any(verdict["exit_code"] for verdict in self.promotions.values())
        return 1 if failed or refused or self.errors else 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"exit_code": self.exit_code}


# The processes of the flow that runs in this process; the command line ends them on Ctrl-C.
children = Children()
on_sigterm: Any = None  # the command line's handler
ended: list[Summary] = []  # what this process's runs came to, before the server was told


@flow(name="pipeline", validate_parameters=False)
def pipeline(
    systems: list[str], until: str | None = None, jobs: int | None = None, force: bool = False, gate: str | None = None
) -> State:
    """Bring these systems up to date: the stages that changed, independent ones in parallel, then gate and report.

    A stage that fails stops what stands on it; other branches finish, then the flow fails. `jobs` bounds how many stages
    run at once (as many as there are processors), `gate` overrides the promotion gate of params.yaml.
    """
    root = open_project()
    started = time.monotonic()
    if on_sigterm is not None:  # Prefect has just put its own in place, which would not wait for the stages
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        summary = Summary(list(systems))
        for line in mend(root):
            _log().warning(line, extra=OURS)
        env = {
            "GENWORKS_PIPELINE_RUN": os.environ.get("GENWORKS_PIPELINE_RUN") or uuid.uuid4().hex,
            SETTLED_BY_FLOW: str(SHORT_STAGE_SECONDS),
        }
        run_stage(root, dag.CODE_STAGE, children=children, say=lambda _: None, env=env)
        graph = dag.load(root)
        plans = graph.plan(systems, until, force=force)
        graph.close()
        _plan_artifact(systems, plans)
        summary.stages = _Schedule(graph, plans, root, jobs or os.cpu_count() or 1, force, env).run()
        settle_left_runs(store_of(root))
        _metrics(summary, graph, root)
        if not until and not summary.exit_code:
            _conclude(summary, graph, root, gate)
    except BaseException:
        children.stop_all()  # cancelled, or a bug of ours: nothing goes on without a flow
        raise
    summary.seconds = time.monotonic() - started
    ended.append(summary)
    if summary.exit_code:
        return Failed(message=_failure_message(summary), data=summary)
    return Completed(message=_done_message(summary), data=summary)


class _Schedule:
    """Submits a stage when everything upstream of it has ended and a slot is free, and gathers how each ended."""

    def __init__(
        self, graph: dag.Dag, plans: list[dag.StagePlan], root: Path, jobs: int, force: bool, env: dict[str, str]
    ) -> None:
        self.graph, self.root, self.jobs, self.force, self.env = graph, root, jobs, force, env
        self.plans = {plan.stage: plan for plan in plans}
        self.futures: dict[str, PrefectFuture[Any]] = {}
        self.ended: queue.Queue[str] = queue.Queue()
        self.results: dict[str, StageResult] = {}

    def run(self) -> list[StageResult]:
        waiting = list(self.plans)
        running: set[str] = set()
        while waiting or running:
            for name in [n for n in waiting if self._ready(n)]:
                if len(running) >= self.jobs:
                    break
                waiting.remove(name)
                running.add(name)
                self._submit(name)
            name = self.ended.get()
            running.discard(name)
            self.results[name] = self._result(name)
        return [self.results[name] for name in self.plans]

    def _ready(self, name: str) -> bool:
        return all(up in self.results for up in self.graph.stages[name].upstream if up in self.plans)

    def _submit(self, name: str) -> None:
        upstream = [self.futures[up] for up in self.graph.stages[name].upstream if up in self.futures]
        future = stage_task.with_options(name=name).submit(
            name, self.plans[name], str(self.root), self.force, self.env, wait_for=upstream
        )
        self.futures[name] = future
        future.add_done_callback(lambda _, name=name: self.ended.put(name))

    def _result(self, name: str) -> StageResult:
        self.futures[name].wait()  # it has ended: this only fetches how
        state = self.futures[name].state
        reasons = self.plans[name].reasons
        if state.is_completed():
            outcome = state.result()
            return StageResult(name, outcome.state, outcome.seconds, reasons)
        if state.is_failed() or state.is_crashed():
            error = state.result(raise_on_failure=False)
            return StageResult(name, "failed", 0.0, reasons, str(error))
        blocked_by = [up for up in self.graph.stages[name].upstream if self._unfit(up)]
        _log().warning("%s: not run, because %s did not finish", name, ", ".join(blocked_by))  # the summary says it too
        return StageResult(name, "blocked", 0.0, reasons, f"{', '.join(blocked_by)} did not finish")

    def _unfit(self, name: str) -> bool:
        return name in self.results and self.results[name].state in ("failed", "blocked")


def _worth_retrying(_task: Any, run: Any, state: State) -> bool:
    """Only what a second try can cure: not a wrong params key, not a failure the stage itself explained."""
    error = state.result(raise_on_failure=False)
    curable = isinstance(error, StageFailed) and error.curable and not children.stopped
    if curable and run.run_count <= RETRIES:
        _log().warning("%s: trying again", run.name, extra=OURS)
    return curable


@task(
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(SECONDS_BEFORE_RETRY),
    retry_jitter_factor=0.5,
    retry_condition_fn=_worth_retrying,
    cache_policy=None,
    task_run_name="{name}",
)
def stage_task(name: str, plan: dag.StagePlan, root: str, force: bool, env: dict[str, str]) -> Any:
    """Run one stage through DVC; an unchanged one ends at once in the state Cached."""
    log = _log()
    if not plan.run:
        log.info("%s: cached", name, extra=OURS)
        return Completed(name="Cached", message="Nothing it depends on has changed", data=Outcome(name, "cached", 0.0))
    log.info("%s: start (%s)", name, plan.reasons[0], extra=OURS)  # the plan has all of them
    try:
        outcome = run_stage(
            Path(root), name, children=children, say=lambda line: log.info(line, extra=OURS | {"stage": name}),
            force=force, env=env,
        )  # fmt: skip
    except StageFailed as failure:
        log.error("%s: failed: %s", name, failure, extra=OURS)
        raise
    log.info("%s: %s in %.1f s", name, outcome.state, outcome.seconds, extra=OURS)
    if outcome.state == "cached":
        return Completed(name="Cached", message="Its outputs were there already", data=outcome)
    return Completed(message=f"Ran in {outcome.seconds:.1f} s", data=outcome)


def _metrics(summary: Summary, graph: dag.Dag, root: Path) -> None:
    """Collect the DVC metrics of the stages that ended well and show them as Prefect tables."""
    for result in summary.stages:
        if result.state in ("failed", "blocked"):
            continue
        for path in graph.stages[result.stage].metrics:
            system = graph.stages[result.stage].system
            figures = json.loads((root / path).read_text(encoding="utf-8"))
            prefix = "" if path.stem == "metrics" else f"{path.stem}."
            summary.metrics.setdefault(system, {}).update(flat(figures, prefix))
    for system, figures in summary.metrics.items():
        rows = [{"metric": name, "value": value} for name, value in figures.items()]
        _show(create_table_artifact, rows, key=f"{_key(system)}-metrics", description=f"Metrics of {system}")


def _plan_artifact(systems: list[str], plans: list[dag.StagePlan]) -> None:
    rows = [f"| {p.stage} | {'runs' if p.run else 'cached'} | {'; '.join(p.reasons)} |" for p in plans]
    links = [f"- report: `reports/{system}/report.html`" for system in systems]
    text = "\n".join(["| stage | plan | why |", "|---|---|---|", *rows, "", *links])
    _show(
        create_markdown_artifact,
        text,
        key=f"{_key('-'.join(systems))[:200]}-plan",
        description="What this run does and why",
    )


def _show(create: Any, content: Any, *, key: str, description: str | None = None) -> None:
    """Put a page beside the run on Prefect's server. A server that has gone away is told of once, and fails nothing."""
    if _silent:
        return
    try:
        create(content, key=key, description=description)
    except httpx.TransportError as error:
        _silent.append(key)
        _log().warning("Prefect's server is gone (%s): the work goes on without its pages", error, extra=OURS)


_silent: list[str] = []


def _key(name: str) -> str:
    """Prefect's keys are lower-case letters, digits and dashes."""
    return name.lower().replace("_", "-")


def _conclude(summary: Summary, graph: dag.Dag, root: Path, gate: str | None) -> None:
    """Promotion and report of every system that registers a model; a failure here fails the flow, not the other systems."""
    for system in summary.systems:
        if f"{system}-register" not in graph.stages:
            continue
        try:
            summary.promotions[system] = promote_task(system, gate, str(root))
            summary.reports[system] = report_task(system, str(root))
        except GenworksError as error:
            _log().error("%s: %s", system, error, extra=OURS)
            summary.errors.append(str(error))


@task(name="promote", task_run_name="{system}-promote", cache_policy=None)
def promote_task(system: str, gate: str | None, root: str) -> dict[str, Any]:
    """Put the newest version to the gate."""
    from flows.promote import promote

    verdict = promote(system, cast(Any, gate), Path(root))
    _log().info("%s", verdict, extra=OURS)
    return verdict.as_dict() | {"said": str(verdict)}


@task(name="report", task_run_name="{system}-report", cache_policy=None)
def report_task(system: str, root: str) -> str:
    """Write the system's report page."""
    from flows.report import build_report

    path = build_report(system, Path(root))
    _show(create_markdown_artifact, f"[report of {system}]({path.as_uri()})", key=f"{_key(system)}-report")
    return str(path.relative_to(root))


def _failure_message(summary: Summary) -> str:
    failed = [f"{stage.stage}: {stage.error}" for stage in summary.stages if stage.state == "failed"]
    refused = [verdict["said"] for verdict in summary.promotions.values() if verdict["exit_code"]]
    return " ".join([*failed, *refused, *summary.errors])


def _done_message(summary: Summary) -> str:
    ran = sum(stage.state == "done" for stage in summary.stages)
    return f"{ran} of {len(summary.stages)} stages ran, {len(summary.stages) - ran} cached"


def _log() -> Any:
    return get_run_logger()
