"""Prefect and MLflow servers that belong to this project and end with the command that started them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import write_json
from flows.child import Children, python_environment

HOME = Path(".prefect")
ADDRESS_FILE = HOME / "server.json"  # where `genworks up` says which server runs
START_SECONDS = 90.0
LEAST_BYTES = 20 * 2**20  # with less free, a server that does not start has met a full disk
LOCAL = "127.0.0.1"


def prefect_settings(root: Path) -> dict[str, str]:
    """Environment for Prefect: its files inside the project, no telemetry. Must be set before prefect is imported."""
    return {
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(root / HOME)),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }


def _database(root: Path) -> Path:
    return Path(prefect_settings(root)["PREFECT_HOME"]) / "prefect.db"


@dataclass(frozen=True)
class PrefectApi:
    """The address of an API, and how to wait until it answers (importing prefect meanwhile saves two seconds)."""

    url: str
    wait: Callable[[], None]


@contextlib.contextmanager
def prefect_api(root: Path, children: Children) -> Iterator[PrefectApi]:
    """The API that PREFECT_API_URL names, that of a running `genworks up`, else of a temporary server.

    Prefect's own temporary server outlives a killed flow; ours does not.
    """
    url = os.environ.get("PREFECT_API_URL") or running_server(root)
    if url:
        yield PrefectApi(url, lambda: None)
        return
    port = free_port()
    url = f"http://{LOCAL}:{port}/api"
    path = log_folder(root) / f"temporary-server-{port}.log"
    with path.open("w", encoding="utf-8") as log:
        is_new = not _database(root).exists()
        process = start_prefect(root, children, port, log, temporary=True)

        def wait() -> None:
            try:
                wait_until(f"{url}/health", process, "The temporary Prefect server", path)
            except StageError:
                children.stop(process)
                if is_new:  # half made, it would keep every later server from starting
                    for file in _database(root).parent.glob(f"{_database(root).name}*"):
                        file.unlink()
                raise

        try:
            yield PrefectApi(url, wait)
        finally:
            children.stop(process)
    path.unlink()


def running_server(root: Path) -> str | None:
    """The address of the server that `genworks up` runs for this project, if it answers."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        url = json.loads((root / ADDRESS_FILE).read_text(encoding="utf-8"))["prefect_api"]
        if answers(f"{url}/health"):
            return url
    return None


def note_server(root: Path, prefect_api: str, mlflow: str) -> None:
    write_json(root / ADDRESS_FILE, {"prefect_api": prefect_api, "mlflow": mlflow})


def start_prefect(
    root: Path, children: Children, port: int, log: IO[Any], *, temporary: bool = False
) -> subprocess.Popen[str]:
    """Start a Prefect server on 127.0.0.1. A temporary one has neither pages nor schedules."""
    env = python_environment() | prefect_settings(root)
    env.pop("PREFECT_API_URL", None)
    env |= {"PREFECT_SERVER_API_HOST": LOCAL, "PREFECT_SERVER_API_PORT": str(port)}
    if temporary:
        env |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    app = "prefect.server.api.server:create_app"
    arguments = ["uvicorn", "--factory", app, "--host", LOCAL, "--port", str(port), "--log-level", "error"]
    return children.start([*arguments, "--lifespan", "on"], cwd=root, env=env, output=log)


def start_mlflow(root: Path, children: Children, port: int, log: IO[Any]) -> subprocess.Popen[str]:
    """Start an MLflow server on the project's own store (or the one MLFLOW_TRACKING_URI names)."""
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
    env = python_environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    env.pop("MLFLOW_TRACKING_URI", None)
    arguments = ["mlflow", "server", "--backend-store-uri", store, "--host", LOCAL, "--port", str(port)]
    artifacts = ["--artifacts-destination", str(root / "mlartifacts"), "--workers", "1"]
    return children.start([*arguments, *artifacts], cwd=root, env=env, output=log)


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
    folder = root / HOME / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
