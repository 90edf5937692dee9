"""What a run has to tell and MLflow has not taken yet: `.work/tracking/runs/<name>/`, held by the run's process.

`run.json` says what the run is (and MLflow's id once it has one), `figures-*.jsonl` hold rows in order, one file a writing
process, `end.json` says how it ended. The kernel lets go of the folder's lock however the process ends, so a folder that
nobody holds is a run to be settled. Sending twice does no harm: a run is found by its tag `genworks.spool`, and MLflow keeps
one row of the same name, value, time and step.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.engines.base.paths import atomic_write, read_json, remove, write_json
from components.engines.tracking.store import Store, get_or_create_experiment

log = logging.getLogger("genworks")

Figure = tuple[str, float, int, int]  # name, value, milliseconds, step
BATCH = 500  # MLflow takes 1000 metrics a request
TAG = "genworks.spool"
_NEVER = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}  # what MLflow will refuse tomorrow too


def runs_folder(root: Path) -> Path:
    return root / ".work" / "tracking" / "runs"


@dataclass
class Spool:
    """`run_id` is MLflow's, empty until a store has taken the run. Travels by pickling, without the lock."""

    folder: Path
    run_id: str = ""
    _lock: int | None = field(default=None, repr=False)
    _file: str = ""

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "run_id": self.run_id, "_lock": None, "_file": ""}

    @classmethod
    def begin(cls, runs: Path, facts: dict[str, Any]) -> Spool:
        """A new folder, held by this process."""
        folder = runs / f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:12]}"
        with held_alone(runs):
            folder.mkdir()
            lock = try_lock(folder / "lock")
        write_json(folder / "run.json", facts | {"run_id": ""})
        return cls(folder, _lock=lock)

    @classmethod
    def adopt(cls, folder: Path) -> Spool | None:
        """A folder that nobody holds any more, held by this process from now on; None if it is held or gone."""
        with held_alone(folder.parent):
            lock = try_lock(folder / "lock") if folder.is_dir() else None
        return None if lock is None else cls(folder, _lock=lock)

    def keep(self, figures: list[Figure]) -> None:
        """Append rows to this process's file. Raises OSError."""
        if not figures:
            return
        self._file = self._file or f"figures-{uuid.uuid4().hex[:12]}.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / self._file).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in figures))

    def backlog(self) -> list[Path]:
        """Files with rows that this spool is to send: its own, and those of all others once it holds the folder."""
        if self._lock is not None:
            return sorted(self.folder.glob("figures-*.jsonl"))
        own = self.folder / self._file
        return [own] if self._file and own.exists() else []

    def send(self, client: Any, store: Store, figures: list[Figure]) -> None:
        """Create the run if it has no id, then hand over what was kept, then `figures`. Raises what MLflow raises."""
        self._be_born(client, store)
        for path in self.backlog():
            rows = _rows(path)
            for first in range(0, len(rows), BATCH):
                self._log(client, rows[first : first + BATCH])
                _rewrite(path, rows[first + BATCH :])
            remove(path)
        for first in range(0, len(figures), BATCH):
            self._log(client, figures[first : first + BATCH])

    def _be_born(self, client: Any, store: Store) -> None:
        if self.run_id:
            return
        with held_alone(self.folder):
            facts = read_json(self.folder / "run.json")
            if not facts["run_id"]:
                facts["run_id"] = _find_or_create(client, store, self.folder.name, facts)
                write_json(self.folder / "run.json", facts)
        self.run_id = facts["run_id"]

    def _log(self, client: Any, figures: list[Figure]) -> None:
        """Rows that MLflow would never take are left out, and said; for any other refusal they wait."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        try:
            client.log_batch(self.run_id, metrics=[Metric(*figure) for figure in figures])
        except MlflowException as error:
            if error.error_code not in _NEVER:
                raise
            if len(figures) > 1:
                for figure in figures:
                    self._log(client, [figure])
            else:
                log.warning("MLflow does not take the figure %s: %s", figures[0][0], error)

    def end(self, status: str) -> None:
        write_json(self.folder / "end.json", {"status": status, "end": int(time.time() * 1000)})

    def ending(self) -> dict[str, Any]:
        """How the run ended; a process that did not say was killed, some time after its folder last changed."""
        try:
            return read_json(self.folder / "end.json")
        except (OSError, ValueError):
            return {"status": "KILLED", "end": int(1000 * self.folder.stat().st_mtime)}

    def finish(self, client: Any) -> None:
        """Tell the end, and forget the run here."""
        ending = self.ending()
        client.set_terminated(self.run_id, ending["status"], ending["end"])
        self.discard()

    def discard(self) -> None:
        remove(self.folder)
        self.release()

    def release(self) -> None:
        lock, self._lock = self._lock, None  # first, so that no two threads close it
        if lock is not None:
            os.close(lock)


def _find_or_create(client: Any, store: Store, name: str, facts: dict[str, Any]) -> str:
    from mlflow.entities import Param

    experiment = get_or_create_experiment(client, store, facts["experiment"])
    found = client.search_runs([experiment], filter_string=f"tags.`{TAG}` = '{name}'", max_results=1)
    if found:
        run_id = str(found[0].info.run_id)
    else:
        tags = facts["tags"] | {TAG: name}
        run_id = str(client.create_run(experiment, facts["start"], tags, facts["stage"]).info.run_id)
    entries = [Param(key, value) for key, value in facts["params"].items()]
    for first in range(0, len(entries), 100):  # MLflow's limit per request
        client.log_batch(run_id, params=entries[first : first + 100])
    return run_id


def _rows(path: Path) -> list[Figure]:
    rows: list[Figure] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            name, value, when, step = json.loads(line)
        except ValueError:  # the last line of a process that was killed while writing it
            continue
        rows.append((name, value, when, step))
    return rows


def _rewrite(path: Path, rows: list[Figure]) -> None:
    with atomic_write(path) as partial:
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def try_lock(path: Path) -> int | None:
    """The open, locked file; None if somebody holds it. The kernel lets go of it when the process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """For the moment in which one process makes or takes over something in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
