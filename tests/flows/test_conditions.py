"""What a run needs is looked at before it works; what killed commands left is swept."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.base.loopback import reach_directly
from flows import conditions, servers, sweeping
from flows.child import Children, python_environment
from flows.database import damage, set_aside
from tests.flows.toy_project import REPOSITORY, genworks, runs_of


def test_a_project_of_another_user_is_refused_before_any_work(toy):
    done = genworks(toy, "run", "toy", "--force", GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert done.returncode == 2
    assert "safe.directory" in done.stderr
    assert runs_of(toy) == []


def test_what_may_not_be_written_is_named(toy, monkeypatch):
    (toy / "mlflow.db").touch()
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "mlflow.db")
    with pytest.raises(UsageError, match=r"may not write it.*mlflow\.db.*chown"):
        conditions.require(toy, registers=True)


def test_a_registration_without_a_commit_is_refused_before_any_work(tmp_path):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    with pytest.raises(UsageError, match="git commit"):
        conditions.require(tmp_path, registers=True)
    conditions.require(tmp_path, registers=False)


def test_a_path_or_temporary_folder_that_breaks_later_is_refused_now(tmp_path, monkeypatch):
    odd = tmp_path / "what?"
    odd.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=odd, check=True)
    assert any("rename that folder" in str(one) for one in conditions.obstacles(odd))
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * 50)
    assert python_environment()["RAY_TMPDIR"] == "/tmp"
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * 90)
    assert any("export TMPDIR=/tmp" in str(one) for one in conditions.obstacles(tmp_path, registers=False))


def test_servers_that_are_named_and_dead_are_told_before_any_work(toy):
    for variable, url in (
        ("PREFECT_API_URL", "http://127.0.0.1:9/api"),
        ("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9"),
    ):
        begin = time.monotonic()
        done = genworks(toy, "run", "toy", "--force", **{variable: url})
        assert done.returncode == 1
        assert variable in done.stderr
        assert "secret" not in done.stderr
        assert time.monotonic() - begin < 40
        assert runs_of(toy) == []


def test_loopback_is_reached_past_a_proxy(monkeypatch):
    environment = {"HTTP_PROXY": "http://proxy.example:3128", "NO_PROXY": "intern.example"}
    reach_directly(environment)
    assert environment["NO_PROXY"] == environment["no_proxy"] == "intern.example,127.0.0.1,localhost,::1"
    reach_directly(environment)
    assert environment["NO_PROXY"].count("localhost") == 1
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(os, "environ", os.environ | {})
    assert "127.0.0.1" in python_environment()["no_proxy"]


@pytest.mark.slow
def test_a_run_behind_a_proxy_finds_its_own_server(toy):
    proxy = "http://127.0.0.1:9"  # nobody answers there
    done = genworks(
        toy, "run", "toy", "--set", "toy.join.seed=3", HTTP_PROXY=proxy, http_proxy=proxy, HTTPS_PROXY=proxy
    )
    assert done.returncode == 0, done.stderr
    assert runs_of(toy) == ["join"]


def test_scratch_of_the_dead_is_swept_and_that_of_the_living_kept(tmp_path):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".work/rebuild-dead/sub").mkdir(parents=True)
    logs = tmp_path / ".prefect/logs"
    logs.mkdir(parents=True)
    old, new, used = (logs / f"temporary-server-{name}.log" for name in ("1", "2", "3"))
    for log in (old, new, used):
        log.write_text("said")
    for log in (old, used):
        os.utime(log, (1, 1))
    tree, busy = (tmp_path / ".dvc/tmp/exps/standalone" / name for name in ("dead", "busy"))
    for folder in (tree, busy):
        folder.mkdir(parents=True)
        os.utime(folder, (1, 1))
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=busy)
    try:
        with used.open() as file, sweeping.scratch(tmp_path, "estimate-") as mine:
            sweeping.hold(file.fileno())
            said = sweeping.sweep(tmp_path)
            assert mine.exists()
        assert not mine.exists()
    finally:
        worker.kill()
        worker.wait()
    assert [path.exists() for path in (old, new, used, tree, busy)] == [False, True, True, False, True]
    assert not (tmp_path / ".work/rebuild-dead").exists()
    assert len(said) == 1
    assert "rebuild-dead" in said[0]


def test_a_killed_reproduction_leaves_no_worktree_after_the_next_sweep(toy):
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=toy, capture_output=True, text=True, check=True
    ).stdout.strip()
    code = (
        "import os, pathlib; from flows.reproduce import _working_tree;"
        f"tree = _working_tree(pathlib.Path({str(toy)!r}), {commit!r}); tree.__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert list((toy / ".work").glob("rebuild-*"))
    assert sweeping.sweep(toy)
    told = subprocess.run(["git", "worktree", "list"], cwd=toy, capture_output=True, text=True, check=True).stdout
    assert len(told.splitlines()) == 1
    assert not list((toy / ".work").glob("rebuild-*"))


def test_a_damaged_database_of_our_server_is_set_aside_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    path = tmp_path / "prefect.db"
    path.write_bytes(b"SQLite format 3\0" + b"x" * 4000)
    (tmp_path / "prefect.db-wal").write_bytes(b"x")
    assert damage(path)
    ended = [sys.executable, "-c", "import sys; sys.exit(3)"]
    monkeypatch.setattr(servers, "start_prefect", lambda *_, **__: subprocess.Popen(ended, start_new_session=True))
    with servers.prefect_api(tmp_path, Children()) as api, pytest.raises(StageError):
        api.wait()
    assert "kept as" in capsys.readouterr().err
    kept = sorted(file.name for file in tmp_path.iterdir() if "damaged" in file.name)
    assert (tmp_path / kept[0]).read_bytes().endswith(b"xxx")
    assert f"{kept[0]}-wal" in kept
    assert not path.exists()


def test_a_whole_or_busy_database_is_no_damage(tmp_path):
    import sqlite3

    path = tmp_path / "some where.db"
    assert damage(path) is None
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.commit()
        connection.execute("BEGIN EXCLUSIVE")
        assert damage(path) is None
    connection.close()
    assert set_aside(path).exists()
