"""Where tracking lives, how it is opened, and what to say when it cannot be."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.engines.base.errors import GenworksError, StageError, UsageError

BUSY_SECONDS = 10.0  # how long a database that somebody else writes to is waited for
SCHEMA_SECONDS = 120.0  # how long another process may take to create the schema: 3 s, 10 s on a busy machine
CONNECT_SECONDS = 5  # how long a server may take to answer
_ready: set[str] = set()  # databases whose schema this process has seen in order


@dataclass(frozen=True)
class Store:
    """Tracking and registry of one project. `artifacts` is where files go, None where a server decides that."""

    root: Path
    tracking: str
    registry: str
    artifacts: str | None

    def experiment_location(self, name: str) -> str | None:
        return f"{self.artifacts}/{name}" if self.artifacts else None


def store_of(root: Path) -> Store:
    """MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI, else SQLite and a folder in the project.

    With a database opened directly (no server between), artifacts go to MLFLOW_DEFAULT_ARTIFACT_ROOT or `mlartifacts/`.
    """
    root = root.resolve()
    tracking = _with_driver(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}")
    registry = _with_driver(os.environ.get("MLFLOW_REGISTRY_URI") or tracking)
    served = tracking.startswith(("http://", "https://", "databricks"))
    artifacts = None if served else os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or str(root / "mlartifacts")
    return Store(root, tracking, registry, artifacts)


def _with_driver(uri: str) -> str:
    """A plain `postgresql://` names the driver that is installed: SQLAlchemy 2.1 takes it for psycopg 3."""
    scheme, separator, rest = uri.partition("://")
    if scheme in {"postgresql", "postgres"} and find_spec("psycopg") is None and find_spec("psycopg2") is not None:
        return f"postgresql+psycopg2{separator}{rest}"
    return uri


def shown(uri: str) -> str:
    """A URI fit for messages and tags: no user name, password or query."""
    return re.sub(r"//[^/@]*@", "//", uri).split("?")[0]


@contextmanager
def opened(store: Store) -> Iterator[Any]:
    """Yield an `MlflowClient`; failures of the store inside the block come out as one clear `GenworksError`.

    The store is probed first, since MLflow itself retries an unreachable database for minutes before it says so.
    """
    try:
        with _schema_lock(store):
            for uri in sorted({store.tracking, store.registry}):
                _probe(uri)
            mlflow = quiet_mlflow()
            _point(mlflow, store)
            client = mlflow.MlflowClient(tracking_uri=store.tracking, registry_uri=store.registry)
            _make_ready(store, client)
        yield client
    except GenworksError:
        raise
    except Exception as error:
        explained = _explain(error, store)
        if explained is None:
            raise
        raise explained from error


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


def _probe(uri: str) -> None:
    if uri.startswith("sqlite:"):
        _probe_sqlite(uri)
    elif uri.startswith(("http://", "https://")):
        _probe_http(uri)
    elif "://" in uri and not uri.startswith(("file:", "databricks")):
        _probe_database(uri)


def _probe_sqlite(uri: str) -> None:
    """Take and release the write lock: says at once, or after a bounded wait, whether the database can be used."""
    path = Path(uri.removeprefix("sqlite:///").split("?")[0])
    if not path.parent.is_dir():
        raise UsageError("The folder of the tracking database does not exist", where=str(path), do="create it")
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _explain_database(str(error), str(path)) from error


def _probe_http(uri: str) -> None:
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # somebody answers; whether it is MLflow and lets us in, its own calls will tell
    except (OSError, ValueError) as error:
        raise _unreachable(uri, getattr(error, "reason", error)) from error


def _probe_database(uri: str) -> None:
    import sqlalchemy

    try:
        timeout = {"connect_timeout": CONNECT_SECONDS} if uri.startswith(("postgresql", "mysql")) else {}
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool, connect_args=timeout)
        engine.connect().close()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The driver of the tracking database is missing: {error.name}",
            where=shown(uri),
            do="pip install 'genworks[postgres]' (or the driver of your database)",
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _unreachable(uri, str(getattr(error, "orig", None) or error).splitlines()[0]) from error


@contextmanager
def _schema_lock(store: Store) -> Iterator[None]:
    """Let one process at a time open a store first: the first of all creates the schema, and two at once break it."""
    if store.tracking in _ready:
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


def _explain(error: Exception, store: Store) -> GenworksError | None:
    """Words for failures of MLflow, its database and its server; None for what is none of theirs."""
    import requests
    import sqlalchemy
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException | sqlalchemy.exc.SQLAlchemyError | requests.RequestException):
        return None
    text = _masked(str(error), store)
    if "API request to" in text or isinstance(error, requests.RequestException):
        return _unreachable(store.tracking, text.split("\n")[0])
    return _explain_database(text, shown(store.tracking))


def _masked(text: str, store: Store) -> str:
    for uri in (store.tracking, store.registry):
        text = text.replace(uri, shown(uri))
    return re.sub(r"//[^/@\s]*@", "//", text)


def _unreachable(uri: str, reason: object) -> GenworksError:
    return StageError(
        f"The tracking server cannot be reached: {reason}",
        where=shown(uri),
        do="start it, or correct MLFLOW_TRACKING_URI (unset, genworks uses SQLite in the project)",
    )


def _explain_database(text: str, where: str) -> GenworksError:
    low = text.lower()
    if "database is locked" in low or "database table is locked" in low:
        return StageError(
            f"The tracking database is locked by another process (waited {BUSY_SECONDS:g} s)",
            where=where,
            do=f"end what holds it (fuser {where} names it) or wait for it, then run again",
        )
    if "out-of-date database schema" in low or "can't locate revision" in low:
        return UsageError(
            "The tracking database has the schema of another MLflow version",
            where=where,
            do="back it up, then: mlflow db upgrade URI; or install the MLflow that made it",
        )
    if "not a database" in low or "malformed" in low:
        return UsageError(
            "The tracking database is damaged or no SQLite file", where=where, do="restore it, or move it away"
        )
    if "readonly" in low or "unable to open" in low:
        return UsageError("The tracking database cannot be written", where=where, do="check owner, mode and disk")
    if "disk is full" in low or "no space left" in low:
        return StageError("The disk of the tracking database is full", where=where, do="free some space and run again")
    lines = text.strip().splitlines()
    return StageError(f"MLflow refused: {lines[0] if lines else 'no reason given'}", where=where)
