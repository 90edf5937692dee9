"""Where tracking lives, how it is opened, and what to say when it cannot be."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import GenworksError, StageError, UsageError
from components.engines.tracking.addresses import checked, database_file, project_artifacts, project_database, shown
from components.engines.tracking.moved import follow_move
from components.engines.tracking.reach import explained, probe

SCHEMA_SECONDS = 120.0  # how long another process may take to create the schema: 3 s, 10 s on a busy machine
_NOT_FOR_MODELS = {"PYTHONPATH", "PYTHONSTARTUP", "GENWORKS_TOKEN", "GENWORKS_DATABASE_URL", "PREFECT_API_AUTH_STRING"}
_ready: set[str] = set()  # databases whose schema this process has seen in order


@dataclass(frozen=True)
class Store:
    """Tracking and registry of one project. `artifacts` is where files go, None where a server decides that."""

    root: Path
    tracking: str
    registry: str
    artifacts: str | None

    def environment(self) -> dict[str, str]:
        """For a program of its own that loads a model of this store: nothing that leads to this project's code or secrets."""
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
        named = {"MLFLOW_TRACKING_URI": self.tracking, "MLFLOW_REGISTRY_URI": self.registry}
        return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_MODELS} | quiet | named

    def experiment_location(self, name: str) -> str | None:
        return f"{self.artifacts}/{name}" if self.artifacts else None


def store_of(root: Path) -> Store:
    """MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI, else SQLite and a folder in the project.

    With a database opened directly (no server between), artifacts go to MLFLOW_DEFAULT_ARTIFACT_ROOT or `mlartifacts/`.
    """
    root = root.resolve()
    tracking = _from_environment("MLFLOW_TRACKING_URI", root) or project_database(root)
    registry = _from_environment("MLFLOW_REGISTRY_URI", root) or tracking
    served = tracking.startswith(("http://", "https://", "databricks"))
    artifacts = None if served else os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or project_artifacts(root)
    return Store(root, tracking, registry, artifacts)


def _from_environment(variable: str, root: Path) -> str | None:
    uri = os.environ.get(variable)
    if not uri:
        return None
    file = database_file(uri)
    if file is not None and not file.is_absolute():  # programs that run elsewhere get it too
        return f"sqlite:///{root / file}"
    return checked(uri, variable)


@contextmanager
def opened(store: Store, *, patience: float | None = None) -> Iterator[Any]:
    """Yield an `MlflowClient`; failures of the store inside the block come out as one clear `GenworksError`.

    The store is probed first, since MLflow itself retries an unreachable database for minutes before it says so; one that
    is locked is waited for `patience` seconds. Artifacts of a project that was moved or copied are found at its new place.
    """
    try:
        with _schema_lock(store):
            reach(store, patience=patience)
            mlflow = quiet_mlflow()
            _point(mlflow, store)
            client = mlflow.MlflowClient(tracking_uri=store.tracking, registry_uri=store.registry)
            _make_ready(store, client)
        yield client
    except GenworksError:
        raise
    except Exception as error:
        words = explained(error, store.tracking, store.registry)
        if words is None:
            raise
        raise words from error


def reach(store: Store, *, patience: float | None = None) -> None:
    """Raise GenworksError unless the store answers and its artifacts are where it says. Imports nothing of MLflow."""
    for uri in sorted({store.tracking, store.registry}):
        probe(uri, patience)
    follow_move(store.root, store.tracking, store.artifacts)


def require_reachable(store: Store) -> None:
    """Raise where a server or database that the store names does not answer within seconds. SQLite is a file: see `reach`."""
    for uri in sorted({store.tracking, store.registry}):
        if database_file(uri) is None:
            probe(uri)


def quiet_mlflow() -> Any:
    """Import mlflow without telemetry, banners, progress bars and tracebacks of failures that we explain ourselves."""
    settings = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return mlflow


def _point(mlflow: Any, store: Store) -> None:
    """Make `store` MLflow's global one, without the environment variables MLflow would set: they are the user's word.

    Left set, they would pass for it when this process opens another project.
    """
    kept = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(store.tracking)
    mlflow.set_registry_uri(store.registry)
    for name, value in kept.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def get_or_create_experiment(client: Any, store: Store, name: str) -> str:
    """The id of an experiment; safe when two processes create it at once."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=store.experiment_location(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise UsageError(
            f"Experiment '{name}' was deleted, and MLflow keeps its name",
            where=shown(store.tracking),
            do=f"restore it: mlflow experiments restore --experiment-id {found.experiment_id}",
        )
    return found.experiment_id


@contextmanager
def _schema_lock(store: Store) -> Iterator[None]:
    """Let one process at a time open a store first: the first of all creates the schema, and two at once break it."""
    file = database_file(store.tracking)
    if store.tracking in _ready or (file is not None and file.exists() and not os.access(store.root, os.W_OK)):
        yield
        return
    from filelock import FileLock, Timeout

    path = store.root / ".work" / "tracking" / "schema.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=SCHEMA_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise StageError(
            f"Another process has been setting up the tracking database for {SCHEMA_SECONDS:g} s",
            where=str(path),
            do="wait for it or end it, then run again",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _make_ready(store: Store, client: Any) -> None:
    if store.tracking not in _ready:
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        _ready.add(store.tracking)
