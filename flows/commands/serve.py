"""`genworks serve`: champions answer over HTTP until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.base.guard import token_for
from components.engines.base.loopback import LOOPBACK
from components.engines.tracking.addresses import exists
from components.engines.tracking.names import check_system
from components.engines.tracking.standing import champion_now
from components.engines.tracking.store import reach, store_of
from flows import servers
from flows.child import Children, python_environment
from flows.commands.answer import Answer
from flows.interrupt import Stop, stopping
from flows.project import require_system, systems_of

PROGRAM = "components.engines.serving.server"
PORT = 8000
LOAD_SECONDS = 600.0
POLL_SECONDS = 0.3


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    token = token_for(arguments.host)
    versions = _champions(arguments.systems, root)
    children = Children()
    try:
        try:
            with stopping(children) as stop:
                _serve(arguments, root, children, stop, versions, token)
        finally:
            children.stop_all()
    except KeyboardInterrupt:
        pass  # the way this command ends
    return Answer(None, "All stopped")


def _champions(named: list[str], root: Path) -> dict[str, int]:
    """The versions to serve. Raises UsageError for a system that has none."""
    store = store_of(root)
    if exists(store.registry):
        reach(store)
    found: dict[str, int] = {}
    for system in named or systems_of(root):
        champion = champion_now(root, check_system(system))
        if champion is not None:
            found[system] = champion["version"]
        elif named:
            if system not in systems_of(root):
                require_system(root, system)
            raise UsageError(f"'{system}' has no champion to answer", do=f"genworks run {system}")
    if not found:
        raise UsageError("No system has a champion to answer", do="genworks run SYSTEM")
    return found


def _serve(
    arguments: argparse.Namespace,
    root: Path,
    children: Children,
    stop: Stop,
    versions: dict[str, int],
    token: str | None,
) -> None:
    port = servers.usable_port(arguments.port, PORT)
    words = [PROGRAM, *versions, "--host", arguments.host, "--port", str(port)]
    for name in ("waiting", "seconds", "body_mb"):
        if getattr(arguments, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    if arguments.keep_texts:
        words.append("--keep-texts")
    path = servers.log_folder(root) / f"serve-{port}.log"
    with path.open("w", encoding="utf-8") as log:
        process = children.start(words, cwd=root, env=python_environment(), output=log)
    url = f"http://{arguments.host}:{port}"
    here = f"http://{servers.LOCAL if arguments.host in (*LOOPBACK, '0.0.0.0') else arguments.host}:{port}"
    print(f"loading {', '.join(f'{name} version {number}' for name, number in versions.items())}", file=sys.stderr)
    models = _loaded(here, process, path, stop, token)
    for name, model in models.items():
        if model["problem"] is not None:
            raise StageError(f"{name} cannot be served: {model['problem']}", where=str(path), do="genworks doctor")
    served = {name: model["version"] for name, model in models.items()}
    _announce(arguments.json, {"url": url, "systems": served, "token": token is not None, "log": str(path)})
    while not stop.asked.is_set():
        time.sleep(POLL_SECONDS)
        if process.poll() is not None and not stop.asked.is_set():
            raise _ended(process, path)


def _loaded(
    url: str, process: subprocess.Popen[str], path: Path, stop: Stop, token: str | None
) -> dict[str, dict[str, Any]]:
    """Each system as the server tells of it, when it has loaded or cannot be."""
    deadline = time.monotonic() + LOAD_SECONDS
    while True:
        if stop.asked.is_set():
            raise KeyboardInterrupt
        if process.poll() is not None:
            raise _ended(process, path)
        if time.monotonic() > deadline:
            raise StageError(f"Nothing was loaded within {LOAD_SECONDS:g} s", where=str(path), do="read that log")
        models = _models(url, token)
        if models and all(model["version"] or model["problem"] != "it is loading" for model in models.values()):
            return models
        time.sleep(POLL_SECONDS)


def _models(url: str, token: str | None) -> dict[str, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/models", headers=headers), timeout=5) as response:
            return {model["id"]: model for model in json.load(response)["data"]}
    except (urllib.error.URLError, OSError):
        return {}


def _ended(process: subprocess.Popen[str], path: Path) -> UsageError | StageError:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
    if process.returncode == UsageError.exit_code and last:
        return UsageError(last)
    what = last or f"The server ended with code {process.returncode}: {' '.join(lines[-1:])}"
    return StageError(what, where=str(path), do="read that log")


def _announce(as_json: bool, told: dict[str, Any]) -> None:
    if as_json:
        print(json.dumps(told), flush=True)
        return
    for name, number in told["systems"].items():
        print(f"{name} version {number}  {told['url']}/predict/{name}", flush=True)
    print("Requests need the token of GENWORKS_TOKEN." if told["token"] else "No token is asked for.", flush=True)
    print("Ctrl-C stops it.", flush=True)
    print(f"log: {told['log']}", file=sys.stderr)
