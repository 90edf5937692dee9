"""Prefect and MLflow servers that belong to this project and end with the command that started them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from components.engines.base.errors import StageError, UsageError
from components.engines.base.guard import hosts, origins
from components.engines.tracking.store import shown, store_of
from flows import guarded, standing
from flows.child import Children, python_environment
from flows.database import damage, files_of, set_aside
from flows.sweeping import hold

START_SECONDS = 90.0
ANSWER_SECONDS = 5.0  # for a server that should be there already
LEAST_BYTES = 20 * 2**20  # with less free, a server that does not start has met a full disk
LOCAL = "127.0.0.1"


def prefect_settings(root: Path) -> dict[str, str]:
    """Environment for Prefect: its files inside the project, no telemetry. Must be set before prefect is imported."""
    return {
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(root / standing.HOME)),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLIENT_MAX_RETRIES": os.environ.get(
            "PREFECT_CLIENT_MAX_RETRIES", "3"
        ),  # 14 s; of 5 every call takes a minute
        "DO_NOT_TRACK": "1",
    }


def prefect_database(root: Path) -> Path:
    """Of the servers that we start ourselves, where no other database is named."""
    return Path(prefect_settings(root)["PREFECT_HOME"]) / "prefect.db"


@dataclass(frozen=True)
class PrefectApi:
    """The address of an API, and how to wait until it answers (importing prefect meanwhile saves two seconds)."""

    url: str
    wait: Callable[[], None]
    login: str | None = None  # of a server of ours

    def environment(self) -> dict[str, str]:
        """What Prefect's client reads, before it is imported."""
        return {"PREFECT_API_URL": self.url} | ({"PREFECT_API_AUTH_STRING": self.login} if self.login else {})


@contextlib.contextmanager
def prefect_api(root: Path, children: Children) -> Iterator[PrefectApi]:
    """The API that PREFECT_API_URL names, that of a running `genworks up`, else of a temporary server.

    Prefect's own temporary server outlives a killed flow; ours does not. Raises StageError where a server that is named
    does not answer. A damaged database of our own server is set aside, and said.
    """
    url = os.environ.get("PREFECT_API_URL")
    if url:
        _require(
            url, "PREFECT_API_URL names a Prefect server that does not answer", "start it, or unset PREFECT_API_URL"
        )
        yield PrefectApi(url, lambda: None)
        return
    up = standing.standing(root)
    if up is not None:
        _require(up.prefect_api, "The Prefect server of genworks up does not answer", "stop it and start it again")
        yield PrefectApi(up.prefect_api, lambda: None, up.login)
        return
    yield from _temporary_api(root, children)


def _temporary_api(root: Path, children: Children) -> Iterator[PrefectApi]:
    port, login = free_port(), standing.new_login()
    url = f"http://{LOCAL}:{port}/api"
    path = log_folder(root) / f"temporary-server-{port}.log"
    database = prefect_database(root)
    broken = damage(database)
    if broken is not None:  # it holds the history of runs as Prefect shows it, nothing that a run needs
        print(
            f"Prefect's database was damaged ({broken}): kept as {set_aside(database)}, a new one begins",
            file=sys.stderr,
        )
    is_new, failed = not database.exists(), False
    with path.open("w", encoding="utf-8") as log:
        hold(log.fileno())
        process = start_prefect(root, children, port, log, login=login, temporary=True)

        def wait() -> None:
            nonlocal failed
            try:
                wait_until(f"{url}/health", process, "The temporary Prefect server", path)
            except StageError:
                failed = True
                children.stop(process)
                if is_new:  # half made, it would keep every later server from starting
                    for file in files_of(database):
                        file.unlink()
                raise

        try:
            yield PrefectApi(url, wait, login)
        finally:
            children.stop(process)
            if not failed:  # else it is to be read
                path.unlink()


def _require(url: str, what: str, do: str) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while not replies(f"{url.rstrip('/')}/health"):
        if time.monotonic() > deadline:
            raise StageError(what, where=shown(url), do=do)
        time.sleep(0.5)


def start_prefect(
    root: Path, children: Children, port: int, log: IO[Any], *, login: str | None, temporary: bool = False
) -> subprocess.Popen[str]:
    """Start a Prefect server on 127.0.0.1 behind our guard. A temporary one has neither pages nor schedules.

    `login` (`user:password`) is asked of every request; None leaves it open to the machine's users (a test's server).
    """
    env = python_environment() | prefect_settings(root)
    env.pop("PREFECT_API_URL", None)
    env |= {"PREFECT_SERVER_API_HOST": LOCAL, "PREFECT_SERVER_API_PORT": str(port)}
    env |= {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins(port))}
    if login is not None:  # its clients within the server need it too
        env |= {"PREFECT_SERVER_API_AUTH_STRING": login, "PREFECT_API_AUTH_STRING": login}
    if temporary:
        env |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    return _serve("prefect.server.api.server:create_app()", root, children, port, env, log)


def start_mlflow(root: Path, children: Children, port: int, log: IO[Any], *, login: str) -> subprocess.Popen[str]:
    """Start an MLflow server on the project's own store (or the one MLFLOW_TRACKING_URI names) behind our guard.

    Its settings go through the environment, as `mlflow server` hands them to its own uvicorn: a database's URI may hold a
    password, and everybody may read a command line.
    """
    store = store_of(root)
    env = python_environment() | {"MLFLOW_DISABLE_TELEMETRY": "true", guarded.LOGIN: login}
    env.pop("MLFLOW_TRACKING_URI", None)
    env |= {
        "_MLFLOW_SERVER_FILE_STORE": store.tracking,
        "_MLFLOW_SERVER_REGISTRY_STORE": store.registry,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(root / "mlartifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts(port)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins(port)),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return _serve("mlflow.server.fastapi_app:app", root, children, port, env, log)


def _serve(
    app: str, root: Path, children: Children, port: int, env: dict[str, str], log: IO[Any]
) -> subprocess.Popen[str]:
    env |= {guarded.APP: app, guarded.PORT: str(port)}
    arguments = ["uvicorn", "--factory", "flows.guarded:create", "--host", LOCAL, "--port", str(port)]
    return children.start([*arguments, "--log-level", "error", "--lifespan", "on"], cwd=root, env=env, output=log)


def wait_until(url: str, process: subprocess.Popen[Any], what: str, log: Path) -> None:
    """Return when the server answers. Raises StageError when it ends or does not answer in time."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            if shutil.disk_usage(log.parent).free < LEAST_BYTES:
                raise StageError("The disk is full", where=str(log.parent), do="free some space and run again")
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] if log.exists() else []
            reason = f"ended with code {process.returncode}" if process.poll() is not None else "does not answer"
            raise StageError(f"{what} {reason}: {' '.join(said)}", where=str(log), do="read that log")
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def replies(url: str) -> bool:
    """Whether a server is there at all: it may be one that wants a login, or has no such page."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


def usable_port(port: int | None, wanted: int) -> int:
    """The port asked for (refused if taken); without one, the usual port if free, else any free one."""
    if port is not None:
        if not _free(port):
            raise UsageError(f"Port {port} is taken", do="name another or leave it out")
        return port
    return wanted if _free(wanted) else free_port()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, port))
        except OSError:
            return False
    return True


def log_folder(root: Path) -> Path:
    folder = root / standing.HOME / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
