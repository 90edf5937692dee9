"""What killed stages left behind: open runs, rows that MLflow has not heard of, half uploaded models, folders of scratch."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from components.engines.base.paths import read_json
from components.engines.tracking.spool import TAG, Spool, runs_folder
from components.engines.tracking.store import Store, opened, shown

log = logging.getLogger("genworks")


def settle_left_runs(store: Store) -> None:
    """`settle_runs` for a caller that has not opened MLflow, which is opened only if a run of this store waits.

    A store that does not answer is said: the next stage tries again.
    """
    if not any(_waits(folder, store) for folder in _folders(store.root)):
        return
    try:
        with opened(store) as client:
            settle_runs(client, store)
    except Exception as error:
        log.warning("%s\nRuns wait in %s until MLflow takes them.", error, runs_folder(store.root))


def _waits(folder: Path, store: Store) -> bool:
    try:
        return read_json(folder / "run.json")["store"] == shown(store.tracking)
    except (OSError, ValueError):
        return False


def settle_runs(client: Any, store: Store) -> None:
    """Send what waits and end every run of this project whose process is gone. A failure is said and left for next time.

    A run that a living process holds, here or on another host that shares the folder, is not touched.
    """
    for folder in _folders(store.root):
        spool = Spool.adopt(folder)
        if spool is None:
            continue
        try:
            _settle(client, store, spool)
        except Exception as error:  # the stage that is about to start has nothing to do with it
            log.warning("the run kept in %s is not settled yet: %s", folder, error)
        finally:
            spool.release()


def _settle(client: Any, store: Store, spool: Spool) -> None:
    try:
        facts = read_json(spool.folder / "run.json")
    except (OSError, ValueError):  # killed before it said what it was: nothing was tracked of it
        spool.discard()
        return
    if facts["store"] != shown(store.tracking):
        return  # it belongs to a server that this project does not use at present
    spool.send(client, store, [])
    if facts["stage"] == "register" and spool.ending()["status"] != "FINISHED":
        if client.search_model_versions(f"run_id = '{spool.run_id}'", max_results=1):
            spool.end("FINISHED")  # killed after its last write
        else:
            _remove_models(client, spool.run_id)
    spool.finish(client)


def _remove_models(client: Any, run_id: str) -> None:
    """Models that a registration uploaded, wholly or in part, without making them a version."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    experiment = client.get_run(run_id).info.experiment_id
    for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        get_artifact_repository(model.artifact_location).delete_artifacts()
        client.delete_logged_model(model.model_id)


def open_runs(store: Store) -> Iterator[tuple[str, str]]:
    """(name, what is the matter) of runs that wait to be settled, and of runs that MLflow holds open though nobody runs them."""
    living: set[str] = set()
    for folder in _folders(store.root):
        spool = Spool.adopt(folder)
        if spool is None:
            living.add(folder.name)
            continue
        spool.release()
        yield folder.name, "was left by a stage that ended or was killed: the next stage settles it"
        living.add(folder.name)
    with opened(store) as client:
        experiments = [one.experiment_id for one in client.search_experiments()]
        for run in client.search_runs(experiments, "attributes.status = 'RUNNING'", max_results=1000):
            tags = run.data.tags
            if (
                tags.get("genworks.stage")
                and tags.get(TAG) not in living
                and not _lives(tags.get("genworks.process", ""))
            ):
                name = f"{tags.get('genworks.system')}-{tags['genworks.stage']}"
                yield (
                    run.info.run_id,
                    f"({name}) is open in MLflow, its process is gone, and nothing of it is left in .work/: "
                    f"mlflow runs delete --run-id {run.info.run_id}",
                )


def _lives(process: str) -> bool:
    """Whether `host:pid` runs; of another host nobody here can say, so it is left in peace."""
    host, _, pid = process.rpartition(":")
    return bool(host) and (host != socket.gethostname() or psutil.pid_exists(int(pid)))


def _folders(root: Path) -> list[Path]:
    runs = runs_folder(root)
    return sorted(folder for folder in runs.iterdir() if folder.is_dir()) if runs.is_dir() else []
