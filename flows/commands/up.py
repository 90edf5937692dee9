"""`genworks up`: Prefect, MLflow and a worker for the scheduled deployments, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from components.engines.base.errors import StageError
from flows import servers, standing
from flows.child import Children, python_environment
from flows.commands.answer import Answer
from flows.interrupt import Stop, stopping

POOL = "genworks"
POLL_SECONDS = 0.3


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    children = Children()
    try:
        with standing.claimed(root) as login:
            try:
                with stopping(children) as stop:
                    _serve(arguments, root, children, stop, login)
            finally:
                children.stop_all()
    except KeyboardInterrupt:
        pass  # the way this command ends
    return Answer(None, "All stopped")


def _serve(arguments: argparse.Namespace, root: Path, children: Children, stop: Stop, login: str) -> None:
    prefect_port = servers.usable_port(arguments.prefect_port, 4200)
    mlflow_port = servers.usable_port(arguments.mlflow_port, 5000)
    prefect_url, mlflow_url = f"http://{servers.LOCAL}:{prefect_port}", f"http://{servers.LOCAL}:{mlflow_port}"
    logs = servers.log_folder(root)
    running: dict[str, tuple[subprocess.Popen[str], Path]] = {}

    def start(name: str, starter: Any) -> None:
        path = logs / f"{name}.log"
        with path.open("w", encoding="utf-8") as log:
            running[name] = (starter(log), path)

    start("prefect", lambda log: servers.start_prefect(root, children, prefect_port, log, login=login))
    start("mlflow", lambda log: servers.start_mlflow(root, children, mlflow_port, log, login=login))
    servers.wait_until(f"{prefect_url}/api/health", *_named(running, "prefect"))
    servers.wait_until(f"{mlflow_url}/health", *_named(running, "mlflow"))
    if not arguments.no_worker and (root / "prefect.yaml").is_file():
        api = servers.PrefectApi(f"{prefect_url}/api", lambda: None, login)
        _deploy(root, children, api, logs / "deploy.log")
        start("worker", lambda log: start_worker(root, children, api, log))
    standing.note(root, f"{prefect_url}/api", mlflow_url)
    links = {"prefect": prefect_url, "mlflow": mlflow_url, "worker": "worker" in running}
    _announce(arguments.json, links | {"login": str(standing.LOGIN_FILE)})
    while not stop.asked.is_set():
        time.sleep(POLL_SECONDS)
        for name, (process, path) in running.items():
            if process.poll() is not None and not stop.asked.is_set():
                raise StageError(f"{name} ended with code {process.returncode}", where=str(path), do="read that log")


def _named(
    running: dict[str, tuple[subprocess.Popen[str], Path]], name: str
) -> tuple[subprocess.Popen[str], str, Path]:
    process, path = running[name]
    return process, f"The {name} server", path


def _announce(as_json: bool, links: dict[str, Any]) -> None:
    if as_json:
        print(json.dumps(links), flush=True)
        return
    print(f"Prefect  {links['prefect']}  (runs, schedules)", flush=True)
    print(f"MLflow   {links['mlflow']}  (experiments, models)", flush=True)
    print("The deployments' worker runs." if links["worker"] else "No worker: schedules do not run.", flush=True)
    print(f"Log in: {links['login']} holds user:password (readable by you only, new at each start).", flush=True)
    print("Ctrl-C stops all of it.", flush=True)
    print("logs: .prefect/logs/", file=sys.stderr)


def _deploy(root: Path, children: Children, api: servers.PrefectApi, log: Path) -> None:
    """Create the work pool and register the deployments of prefect.yaml."""
    for arguments in (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all"],
    ):
        with log.open("a", encoding="utf-8") as file:
            process = children.start(["prefect", *arguments], cwd=root, env=client_environment(root, api), output=file)
            code = process.wait()
        children.forget(process)
        if code and not children.stopped:
            raise StageError(
                f"prefect {' '.join(arguments)} ended with code {code}", where=str(log), do="read that log"
            )


def start_worker(root: Path, children: Children, api: servers.PrefectApi, log: IO[Any]) -> subprocess.Popen[str]:
    return children.start(["flows.worker"], cwd=root, env=client_environment(root, api), output=log)


def client_environment(root: Path, api: servers.PrefectApi) -> dict[str, str]:
    return python_environment() | servers.prefect_settings(root) | api.environment()
