"""One MLflow run per training or evaluation stage, grouped under the pipeline run it belongs to."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.engines.base.errors import GenworksError, Stopped, UsageError
from components.engines.base.stage import StageContext
from components.engines.tracking.git import commit_of
from components.engines.tracking.secrets import flatten, masked
from components.engines.tracking.store import Store, get_or_create_experiment, opened, store_of

log = logging.getLogger("genworks")

FLUSH_SECONDS = 5.0  # figures wait this long at most: a write to SQLite costs 10 ms, a training step may cost less
MAX_BATCH = 500  # MLflow takes 1000 metrics a request


@dataclass
class Run:
    """An open run: a training observer too (`log(step, figures)`, `close()`). Travels to Ray workers by pickling."""

    store: Store
    run_id: str
    _waiting: list[tuple[str, float, int, int]] = field(default_factory=list)  # name, value, milliseconds, step
    _flushed: float = field(default_factory=time.monotonic)

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Note figures of a step; they are written every few seconds and when the run closes."""
        now = int(time.time() * 1000)
        self._waiting += [(name, float(value), now, step) for name, value in figures.items()]
        if len(self._waiting) >= MAX_BATCH or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def log_metrics(self, metrics: dict[str, Any]) -> None:
        """Write final figures, one level of nesting allowed (`{"beam": {"bleu": 1}}` is `beam.bleu`)."""
        self.log(0, flatten(metrics))
        self.flush()

    def log_file(self, path: Path) -> None:
        """Attach a file or a folder to the run."""
        with opened(self.store) as client:
            logging_call = client.log_artifacts if path.is_dir() else client.log_artifact
            logging_call(self.run_id, str(path))

    def flush(self) -> None:
        if not self._waiting:
            return
        with opened(self.store) as client:
            from mlflow.entities import Metric

            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                client.log_batch(self.run_id, metrics=[Metric(*figure) for figure in batch])
                del self._waiting[: len(batch)]
        self._flushed = time.monotonic()

    def observer(self) -> Run:
        """The same run for a training loop, which may live in another process."""
        return Run(self.store, self.run_id)

    def close(self) -> None:
        self.flush()


@contextmanager
def stage_run(context: StageContext, params: dict[str, Any]) -> Iterator[Run]:
    """Open a run for a stage, mark it finished or failed at the end. Every call is a new run of experiment `system`.

    Tags: stage, key, commit and, under `genworks run`, the pipeline run (GENWORKS_PIPELINE_RUN). Secrets in params are
    hidden. Raises GenworksError if tracking cannot be reached: before any work, not after it.
    """
    store = store_of(context.root)
    run = Run(store, _start(store, context, params))
    try:
        yield run
        run.close()
    except BaseException as error:
        _end_after(error, run)
        raise
    with opened(store) as client:
        client.set_terminated(run.run_id, "FINISHED")


def _start(store: Store, context: StageContext, params: dict[str, Any]) -> str:
    tags = {
        "genworks.system": context.system,
        "genworks.stage": context.stage,
        "genworks.key": context.key,
        "genworks.pipeline_run": os.environ.get("GENWORKS_PIPELINE_RUN", ""),
        **commit_tags(context.root),
    }
    with opened(store) as client:
        from mlflow.entities import Param

        experiment = get_or_create_experiment(client, store, context.system)
        run_id = client.create_run(experiment, tags={k: v for k, v in tags.items() if v}, run_name=context.stage)
        run_id = run_id.info.run_id
        entries = [Param(key, str(value)) for key, value in flatten(masked(params)).items()]
        for first in range(0, len(entries), 100):  # MLflow's limit per request
            client.log_batch(run_id, params=entries[first : first + 100])
    return run_id


def commit_tags(root: Path) -> dict[str, str]:
    """Tags that name the commit, empty where there is none: a run may do without, a model version may not."""
    try:
        commit = commit_of(root)
    except UsageError:
        return {}
    return {"mlflow.source.git.commit": commit.commit, "genworks.dirty": str(commit.dirty).lower()}


def _end_after(error: BaseException, run: Run) -> None:
    """Mark a failed run as such; the failure itself matters more than whether that worked."""
    status = "KILLED" if isinstance(error, KeyboardInterrupt | SystemExit | Stopped) else "FAILED"
    try:
        with opened(run.store) as client:
            client.set_terminated(run.run_id, status)
    except GenworksError as second:
        log.warning("could not mark run %s as %s: %s", run.run_id, status, second)
