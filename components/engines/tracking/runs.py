"""One MLflow run per training or evaluation stage, grouped under the pipeline run it belongs to.

Tracking never ends the work: what MLflow does not take now waits in `.work/tracking/runs/` (see spool.py), is offered again
while the stage runs, when it ends and by the next stage, and is said once. A stage under a flow that settles its runs
(SETTLED_BY_FLOW) leaves them to it: opening MLflow costs a short stage more than its work.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.engines.base.errors import GenworksError, Stopped, UsageError
from components.engines.base.stage import StageContext
from components.engines.base.watching import watching
from components.engines.tracking.git import commit_of
from components.engines.tracking.names import figure_name
from components.engines.tracking.secrets import flatten, masked
from components.engines.tracking.spool import Figure, Spool, runs_folder
from components.engines.tracking.store import Store, opened, reach, shown, store_of

log = logging.getLogger("genworks")

FLUSH_SECONDS = 5.0  # figures wait this long at most: a write to SQLite costs 10 ms, a training step may cost less
MAX_WAITING = 500  # figures kept in memory
PATIENCE = 2.0  # seconds a locked database is waited for in the middle of work; it is asked again anyway
SETTLED_BY_FLOW = "GENWORKS_TRACKING_AFTER"  # seconds: a stage that ends sooner leaves its run to the flow above it
RETRY_SECONDS = (5.0, 60.0)  # after the first refusal, and at most: the pause doubles in between


@dataclass
class Run:
    """An open run: a training observer too (`log(step, figures)`, `close()`). Travels to Ray workers by pickling."""

    store: Store
    spool: Spool
    _waiting: list[Figure] = field(default_factory=list)
    _flushed: float = field(default_factory=time.monotonic)
    _pause: float = 0.0  # seconds until the store is asked again, 0 while it answers
    _silent_until: float = 0.0  # on the clock of time.time(): until then all goes to the disk, and a flow settles it

    @property
    def run_id(self) -> str:
        """MLflow's id; empty as long as no store has taken the run."""
        return self.spool.run_id

    def log(self, step: int, figures: dict[str, Any]) -> None:
        """Note figures of a step; they are written every few seconds and when the run closes. What is no number is left out."""
        now = int(time.time() * 1000)
        numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
        self._waiting += [(figure_name(name), float(value), now, step) for name, value in numbers.items()]
        if len(self._waiting) >= MAX_WAITING or time.monotonic() - self._flushed >= max(FLUSH_SECONDS, self._pause):
            self.flush()

    def log_metrics(self, metrics: dict[str, Any]) -> None:
        """Write final figures, one level of nesting allowed (`{"beam": {"bleu": 1}}` is `beam.bleu`)."""
        self.log(0, flatten(metrics))
        self.flush(now=True)

    def log_file(self, path: Path) -> None:
        """Attach a file or a folder to the run; where MLflow does not take it now, that is said and the work goes on."""
        try:
            self.born()
            with opened(self.store) as client:
                logging_call = client.log_artifacts if path.is_dir() else client.log_artifact
                logging_call(self.run_id, str(path))
        except Exception as error:
            log.warning("%s could not be attached to its run: %s", path, error)

    def flush(self, *, now: bool = False) -> bool:
        """Hand what waits to MLflow, or to the disk if that does not take it; says whether all has arrived.

        While MLflow is away it is asked again after growing pauses, or `now`.
        """
        if not self.run_id and time.time() < self._silent_until:
            self._keep()
            self._flushed = time.monotonic()
            return False
        away = not now and time.monotonic() - self._flushed < self._pause
        if away:
            self._keep()
        if away or not (self._waiting or self.spool.backlog() or not self.run_id):
            return not away
        self._flushed = time.monotonic()
        try:
            with opened(self.store, patience=PATIENCE) as client:
                self.spool.send(client, self.store, self._waiting)
        except Exception as error:  # whatever it is, the work goes on
            self._refused(error)
            return False
        self._waiting = []
        if self._pause:
            log.warning("MLflow answers again: what had waited of run %s is there", self.run_id)
            self._pause = 0.0
        return True

    def _refused(self, error: Exception) -> None:
        if not self._pause:
            log.warning("%s\nThe work goes on; figures wait in %s until MLflow takes them.", error, self.spool.folder)
        self._pause = min(max(2 * self._pause, RETRY_SECONDS[0]), RETRY_SECONDS[1])
        self._keep()

    def _keep(self) -> None:
        try:
            self.spool.keep(self._waiting)
            self._waiting = []
        except OSError as error:  # a full disk: they stay in memory
            log.warning("figures of run %s cannot wait on disk: %s", self.run_id, error)

    def born(self) -> str:
        """The run's id in the store, for work that is nothing without it. Raises GenworksError if the store is away."""
        if not self.run_id:
            with opened(self.store) as client:
                self.spool.send(client, self.store, [])
        return self.run_id

    def observer(self) -> Run:
        """The same run for a training loop, which may live in another process."""
        return Run(self.store, self.spool, _silent_until=self._silent_until)

    def close(self) -> None:
        self.flush(now=True)

    def end(self, status: str) -> None:
        """Mark the run as ended; a store that is away will be told by the next stage."""
        try:
            self.spool.end(status)
            if self.flush(now=True):
                with opened(self.store, patience=PATIENCE) as client:
                    self.spool.finish(client)
        except Exception as error:
            log.warning("could not mark run %s as %s now, the next stage will: %s", self.run_id, status, error)
        self.spool.release()


@watching()
@contextmanager
def stage_run(context: StageContext, params: dict[str, Any]) -> Iterator[Run]:
    """A recorded run for a stage that only tells it things: its outputs hold nothing of it."""
    with recorded_run(context, params) as run:
        yield run


@contextmanager
def recorded_run(context: StageContext, params: dict[str, Any]) -> Iterator[Run]:
    """Open a run for a stage, mark it finished or failed at the end. Every call is a new run of experiment `system`.

    Tags: stage, key, commit and, under `genworks run`, the pipeline run (GENWORKS_PIPELINE_RUN). Secrets in params are
    hidden. Raises UsageError before any work if tracking is set up wrongly; a store that does not answer is waited for
    beside the work. Runs that killed stages left open are ended on the way. Where SETTLED_BY_FLOW is set, a run shorter than
    that never opens MLflow: its flow does.
    """
    store = store_of(context.root)
    spool = Spool.begin(runs_folder(context.root), _facts(context, params))
    run = Run(store, spool)
    _start(run)
    try:
        yield run
    except BaseException as error:
        run.end("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit | Stopped) else "FAILED")
        raise
    run.end("FINISHED")


def _start(run: Run) -> None:
    from components.engines.tracking.abandoned import settle_runs

    silent = float(os.environ.get(SETTLED_BY_FLOW) or 0)
    try:
        if silent:
            reach(run.store)
            run._silent_until = time.time() + silent
            return
        with opened(run.store) as client:
            settle_runs(client, run.store)
            run.spool.send(client, run.store, [])
    except UsageError:
        run.spool.discard()
        raise
    except GenworksError as error:
        run._refused(error)


def _facts(context: StageContext, params: dict[str, Any]) -> dict[str, Any]:
    tags = {
        "genworks.system": context.system,
        "genworks.stage": context.stage,
        "genworks.key": context.key,
        "genworks.pipeline_run": os.environ.get("GENWORKS_PIPELINE_RUN", ""),
        "genworks.process": f"{socket.gethostname()}:{os.getpid()}",
        **commit_tags(context.root),
    }
    named = {figure_name(key): str(value) for key, value in flatten(masked(params)).items()}
    return {
        "store": shown(store_of(context.root).tracking),
        "experiment": context.system,
        "stage": context.stage,
        "start": int(time.time() * 1000),
        "tags": {key: value for key, value in tags.items() if value},
        "params": named,
    }


def commit_tags(root: Path) -> dict[str, str]:
    """Tags that name the commit, empty where there is none: a run may do without, a model version may not."""
    try:
        commit = commit_of(root)
    except UsageError:
        return {}
    return {"mlflow.source.git.commit": commit.commit, "genworks.dirty": str(commit.dirty).lower()}
