"""Where tracking lives, and what is said when it cannot be used."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.engines.base.errors import GenworksError, StageError, UsageError
from components.engines.base.stage import StageContext
from components.engines.tracking import reach
from components.engines.tracking.runs import stage_run
from components.engines.tracking.store import opened, store_of
from tests.engines.tracking.registered_project import Project, empty_database, make_project


def context(root: Path) -> StageContext:
    return StageContext("toy", "train", "key", root / ".work", root, {}, {})


def test_by_default_all_lies_in_the_project(tmp_path):
    found = store_of(tmp_path)
    assert found.tracking == found.registry == f"sqlite:///{tmp_path}/mlflow.db"
    assert found.artifacts == f"{tmp_path}/mlartifacts"


def test_the_environment_names_other_places(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@tracking.example/base")
    found = store_of(tmp_path)
    assert (found.tracking, found.artifacts) == ("https://user:secret@tracking.example/base", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql://u:p@db/mlflow")
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://bucket/x")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "https://registry.example")
    found = store_of(tmp_path)
    assert (found.registry, found.artifacts) == ("https://registry.example", "s3://bucket/x")


def test_opening_one_project_says_nothing_about_the_next(tmp_path):
    for name in ("a", "b"):
        make_project(tmp_path / name)
        with stage_run(context(tmp_path / name), {}):
            pass
    assert "MLFLOW_TRACKING_URI" not in os.environ
    for name in ("a", "b"):
        with opened(store_of(tmp_path / name)) as client:
            experiment = client.get_experiment_by_name("toy")
            assert experiment.artifact_location == f"{tmp_path}/{name}/mlartifacts/toy"
            assert len(client.search_runs([experiment.experiment_id])) == 1


LOCKER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def locked_project(project: Project):
    """Another process holds an exclusive transaction on the tracking database."""
    command = [sys.executable, "-c", LOCKER, str(project.root / "mlflow.db")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    yield project
    holder.kill()
    holder.wait()


def test_a_database_locked_by_another_process_is_one_clear_error(locked_project, monkeypatch):
    monkeypatch.setattr(reach, "BUSY_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(StageError, match="locked by another process") as raised, opened(store_of(locked_project.root)):
        pytest.fail("nothing can be done there")
    assert time.monotonic() - started < 9  # of the 10 that it waits where nobody shortens them
    assert "mlflow.db" in raised.value.where
    assert "fuser" in raised.value.do


def test_a_database_locked_in_the_middle_is_explained_too(project, monkeypatch):
    from mlflow.exceptions import MlflowException

    with pytest.raises(StageError, match="locked by another process"), opened(store_of(project.root)):
        raise MlflowException("(sqlite3.OperationalError) database is locked\n[SQL: UPDATE runs]")


def test_a_lock_that_is_let_go_in_time_is_waited_for(project):
    code = LOCKER.replace("60", "1")
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(project.root / "mlflow.db")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with opened(store_of(project.root)) as client:
        assert client.search_experiments()
    holder.wait()


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:hunter2@127.0.0.1:{port}")
    with pytest.raises(StageError, match="cannot be reached") as raised, opened(store_of(tmp_path)):
        pass
    assert f"127.0.0.1:{port}" in raised.value.where
    assert "hunter2" not in str(raised.value)


def test_a_database_server_that_does_not_answer_fails_at_once(tmp_path, monkeypatch):
    """MLflow itself would try for minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://user:hunter2@127.0.0.1:{port}/mlflow")
    started = time.monotonic()
    with pytest.raises(StageError, match="cannot be reached") as raised, opened(store_of(tmp_path)):
        pass
    assert time.monotonic() - started < 20
    assert "hunter2" not in str(raised.value)


def test_a_database_of_another_mlflow_says_how_to_upgrade(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(empty_database().read_bytes())
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    connection.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
    connection.commit()
    connection.close()
    with pytest.raises(GenworksError, match="schema of another MLflow") as raised, opened(store_of(tmp_path)):
        pass
    assert "mlflow db upgrade" in raised.value.do


@pytest.mark.parametrize(
    ("content", "message"), [(b"x" * 4096, "damaged or no SQLite file"), (None, "folder of the tracking database")]
)
def test_what_is_no_database_is_said_to_be_none(tmp_path, monkeypatch, content, message):
    path = tmp_path / "mlflow.db" if content else tmp_path / "nowhere" / "mlflow.db"
    if content:
        path.write_bytes(content)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(UsageError, match=message), opened(store_of(tmp_path)):
        pass


def test_errors_of_the_work_inside_pass_through(project):
    with pytest.raises(ZeroDivisionError), opened(store_of(project.root)):
        _ = 1 / 0


@pytest.mark.slow
def test_two_processes_may_create_the_database_at_once(tmp_path):
    code = "from pathlib import Path; from components.engines.tracking.store import opened, store_of\n"
    code += "with opened(store_of(Path.cwd())) as client: assert client.search_experiments()"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
