"""Production's parts: MLflow on PostgreSQL, a remote MLflow server in front of it, a model served over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from components.engines.base.errors import StageError
from components.engines.tracking import ledger
from components.engines.tracking.lineage import lineage
from components.engines.tracking.registry import evidence_folder, model_folder, version
from components.engines.tracking.runs import stage_run
from components.engines.tracking.store import opened, store_of
from tests.engines.tracking.registered_project import Project
from tests.over_http import answer_of
from tests.postgres_server import postgres_server

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: list[str], url: str, log: Path, **environment: str) -> Iterator[None]:
    """Run a server until the block ends; it must answer at `url` first."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=log.parent,
            # MLflow starts uvicorn by name, from where this interpreter lives
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 100
            while not answers(url):
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.3)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # uvicorn is a child of a shell; none of them has anything to save
            process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def walk_through(project: Project, tmp_path: Path) -> None:
    """Everything the tracking engine does, once, against whatever store the environment names."""
    root = project.root
    with stage_run(project.context(), {"steps": 3}) as run:
        run.log(1, {"loss": 0.5})
    first = project.train(wrong=20).register()
    assert project.register().version == first.version
    project.train(wrong=10).register()
    one, two = version(root, "toy", 1), version(root, "toy", 2)
    ledger.move(root, one, "promote", evidence={"text": "ü" * 9000}, expected=None)
    ledger.move(root, two, "promote", evidence={}, expected=1)
    ledger.note(root, one, "refuse", evidence={})
    with pytest.raises(StageError, match="judged against 7"):
        ledger.move(root, one, "promote", evidence={}, expected=7)
    ledger.move(root, one, "rollback", evidence={})
    assert version(root, "toy", "champion").version == 1
    lines = ledger.history(root, "toy")
    assert [line.action for line in lines] == ["promote", "promote", "refuse", "rollback"]
    assert ledger.champion_at(root, "toy", lines[1].when).version == 2
    assert ledger.verify(root, "toy") == []
    assert lineage(root, "toy", 2)["upstream"][0]["md5"]
    assert (evidence_folder(root, two, tmp_path / "evidence") / "scores.jsonl").is_file()
    assert (model_folder(root, two, tmp_path / "model") / "weights.json").is_file()
    with opened(store_of(root)) as client:
        client.set_registered_model_alias("toy", "champion", "2")
    assert ledger.verify(root, "toy") == ["alias 'champion' points to version 2, the ledger says version 1"]


def test_everything_works_on_postgresql(project, tmp_path, monkeypatch):
    with postgres_server() as postgres:
        uri = postgres.url("mlflow").replace("+psycopg2", "")  # as people write it
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        walk_through(project, tmp_path)
    with pytest.raises(StageError, match="cannot be reached") as raised:
        version(project.root, "toy", 1)
    assert postgres.password not in str(raised.value)


def test_everything_works_through_a_server_on_postgresql(project, tmp_path, monkeypatch):
    """The layout of infra/: a server that owns database and artifacts, clients that know only its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with postgres_server() as postgres:
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", postgres.url("mlflow"), "--artifacts-destination", str(tmp_path / "bucket")]
        with served(command, f"{url}/health", tmp_path / "server.log"):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
            walk_through(project, tmp_path)
    assert list((tmp_path / "bucket").rglob("weights.json"))
    assert not (project.root / "mlartifacts").exists()


def test_mlflow_serves_the_champion_over_http(project, tmp_path):
    project.train().register()
    ledger.move(project.root, version(project.root, "toy", 1), "promote", evidence={})
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["mlflow", "models", "serve", "-m", "models:/toy@champion", "-h", "127.0.0.1", "-p", str(port)]
    uri = store_of(project.root).tracking
    with served([*command, "--env-manager", "local"], f"{url}/ping", tmp_path / "serve.log", MLFLOW_TRACKING_URI=uri):
        records = answer_of(f"{url}/invocations", {"dataframe_records": [{"text": "hello"}], "params": {"twice": True}})
        assert records == {"predictions": [{"output": "jgnnq", "length": 5}]}
        columns = answer_of(f"{url}/invocations", {"inputs": {"text": ["hello", "zebra"]}})
        assert [one["output"] for one in columns["predictions"]] == ["ifmmp", "afcsb"]
