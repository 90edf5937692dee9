"""Tracking that is away, refuses or is killed with its stage never ends the work, loses nothing and doubles nothing."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.base.stage import StageContext
from components.engines.tracking import reach, runs
from components.engines.tracking.abandoned import open_runs, settle_left_runs
from components.engines.tracking.runs import stage_run
from components.engines.tracking.store import opened, store_of
from tests.engines.tracking.registered_project import empty_database
from tests.engines.tracking.test_tracking_servers import free_port, served


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "BUSY_SECONDS", 0.3)
    monkeypatch.setattr(runs, "PATIENCE", 0.3)
    monkeypatch.setattr(runs, "RETRY_SECONDS", (0.1, 0.2))


def context(root: Path) -> StageContext:
    return StageContext("toy", "train", "key", root / ".work", root, {}, {})


def tracked(root: Path) -> list[Any]:
    with opened(store_of(root)) as client:
        experiment = client.get_experiment_by_name("toy")
        return client.search_runs([experiment.experiment_id], order_by=["attribute.start_time"])


def steps(root: Path, run_id: str, name: str = "loss") -> list[tuple[int, float]]:
    with opened(store_of(root)) as client:
        return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def leftovers(root: Path) -> list[str]:
    return [folder.name for folder in (root / ".work/tracking/runs").iterdir() if folder.is_dir()]


def lock(root: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def test_a_lock_in_the_middle_ends_no_stage_and_loses_no_row(project, caplog):
    with stage_run(context(project.root), {"lr": 1}) as run:
        run.log(0, {"loss": 3.0})
        run.flush()
        holder = lock(project.root)
        for step in range(1, 5):
            run.log(step, {"loss": 3.0 - step})
            run.flush(now=True)
        assert sum("The work goes on" in one.message for one in caplog.records) == 1
        holder.close()
        run.log(5, {"loss": 0.0})
    assert steps(project.root, run.run_id) == [(step, 3.0 - step) for step in range(5)] + [(5, 0.0)]
    assert [one.info.status for one in tracked(project.root)] == ["FINISHED"]
    assert "MLflow answers again" in caplog.text
    assert leftovers(project.root) == []


def test_a_lock_over_the_whole_stage_is_made_good_by_the_next(project):
    holder = lock(project.root)
    with stage_run(context(project.root), {"lr": 1}) as first:
        first.log(0, {"loss": 1.0})
        first.log_metrics({"bleu": 60.0})
    holder.close()
    assert len(leftovers(project.root)) == 1
    assert [what for _, what in open_runs(store_of(project.root))] == [
        "was left by a stage that ended or was killed: the next stage settles it"
    ]
    before = time.time()
    with stage_run(context(project.root), {}) as second:
        pass
    late, now = tracked(project.root)
    assert (late.info.status, late.data.metrics, late.data.params) == ("FINISHED", {"loss": 1, "bleu": 60}, {"lr": "1"})
    assert late.info.end_time / 1000 < before
    assert (now.info.run_id, now.info.status) == (second.run_id, "FINISHED")
    assert leftovers(project.root) == []
    assert list(open_runs(store_of(project.root))) == []


@pytest.mark.slow
def test_a_server_that_refuses_and_comes_back_gets_everything_once(project, tmp_path, monkeypatch):
    (tmp_path / "served.db").write_bytes(empty_database().read_bytes())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/served.db"]
    with pytest.raises(StageError, match="cannot be reached"):
        project.train().register()
    with stage_run(context(project.root), {}) as early:
        early.log(0, {"loss": 9.0})
    with stage_run(context(project.root), {}) as run:
        run.log(0, {"loss": 2.0})
        assert not run.flush(now=True)
        with served(command, f"{url}/health", tmp_path / "server.log"):
            run.log(1, {"loss": 1.0})
            assert run.flush(now=True)
            with stage_run(context(project.root), {}):
                pass
            assert steps(project.root, run.run_id) == [(0, 2.0), (1, 1.0)]
            found = tracked(project.root)
            # a registration that failed left no more than the others: what it had to tell
            assert sorted(one.info.status for one in found) == ["FINISHED", "FINISHED", "RUNNING"]
            assert sorted(one.data.metrics.get("loss", 0) for one in found) == [0, 1, 9]
        run.log(2, {"loss": 0.5})
    assert leftovers(project.root) == [run.spool.folder.name]


def test_figures_mlflow_refuses_are_left_out_and_said(project, caplog, monkeypatch):
    """Names are made fit; what is refused all the same costs the run nothing but that figure."""
    monkeypatch.setattr(runs, "figure_name", lambda name: name)
    with stage_run(context(project.root), {}) as run:
        run.log_metrics({"good": 1.0, "41+": 2.0, "text": "no number", "also good": 3})
    assert tracked(project.root)[0].data.metrics == {"good": 1.0, "also good": 3.0}
    assert "does not take the figure 41+" in caplog.text


@pytest.mark.parametrize(
    "name", ["slices.length.41+.bleu", "a//b", "../x", "/etc", "x/", ".", "", "ä ö", "100 %", "<b>", "n" * 400, "a\nb"]
)
def test_any_name_of_a_figure_or_param_is_made_fit(project, name, caplog):
    with stage_run(context(project.root), {name: 7}) as run:
        run.log(1, {name: 2.5})
    found = tracked(project.root)[0]
    assert list(found.data.metrics.values()) == [2.5]
    assert list(found.data.params.values()) == ["7"]
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


KILLED = """
import sys, time
from pathlib import Path
from tests.engines.tracking.test_outages import context
from components.engines.tracking.runs import stage_run
with stage_run(context(Path.cwd()), {}) as run:
    run.log(0, {"loss": 1.0}); run.flush()
    print(run.run_id, flush=True)
    time.sleep(60)
"""


def test_a_killed_run_is_ended_by_the_next_and_a_living_one_is_not_touched(project):
    repository = str(Path(__file__).resolve().parents[3])
    command, given = [sys.executable, "-c", KILLED], os.environ | {"PYTHONPATH": repository}
    ids = []
    processes = [
        subprocess.Popen(command, cwd=project.root, env=given, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        ids.append(process.stdout.readline().strip())
    processes[0].send_signal(signal.SIGKILL)
    processes[0].wait()
    try:
        with stage_run(context(project.root), {}) as run:
            assert run.run_id not in ids
        status = {one.info.run_id: one.info.status for one in tracked(project.root)}
        assert [status[one] for one in ids] == ["KILLED", "RUNNING"]
        assert list(open_runs(store_of(project.root))) == []
    finally:
        processes[1].kill()
        processes[1].wait()
    (name, what), *more = open_runs(store_of(project.root))
    assert "the next stage settles it" in what
    assert not more
    assert name in leftovers(project.root)


SHORT = """
import sys
from pathlib import Path
from tests.engines.tracking.test_outages import context
from components.engines.tracking.runs import stage_run
with stage_run(context(Path.cwd()), {"lr": 1}) as run:
    run.log(0, {"loss": 1.0}); run.flush(now=True); run.observer().close()
    run.log_metrics({"bleu": 60.0})
print("mlflow" in sys.modules, run.run_id == "")
"""


def test_a_short_stage_under_a_flow_never_opens_mlflow_and_its_flow_settles_all(project):
    given = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), runs.SETTLED_BY_FLOW: "60"}
    told = subprocess.run(
        [sys.executable, "-c", SHORT], check=False, cwd=project.root, env=given, capture_output=True, text=True
    )
    assert told.stdout.split() == ["False", "True"], told.stderr
    settle_left_runs(store_of(project.root))
    (run,) = tracked(project.root)
    assert (run.info.status, run.data.metrics, run.data.params) == ("FINISHED", {"loss": 1, "bleu": 60}, {"lr": "1"})
    assert leftovers(project.root) == []


def test_a_stage_under_a_flow_that_lasts_tells_mlflow_while_it_runs(project, monkeypatch):
    monkeypatch.setenv(runs.SETTLED_BY_FLOW, "0.5")
    with stage_run(context(project.root), {}) as run:
        run.log(0, {"loss": 2.0})
        assert not run.flush(now=True)
        assert run.run_id == ""
        time.sleep(0.6)
        run.log(1, {"loss": 1.0})
        assert run.flush(now=True)
        assert steps(project.root, run.run_id) == [(0, 2.0), (1, 1.0)]
        with stage_run(context(project.root), {}) as failed_later:
            failed_later.log(0, {"loss": 3.0})
        settle_left_runs(store_of(project.root))  # the living one stays
        assert sorted(one.info.status for one in tracked(project.root)) == ["FINISHED", "RUNNING"]
    assert [one.info.status for one in tracked(project.root)] == ["FINISHED", "FINISHED"]


def test_a_stage_under_a_flow_refuses_a_damaged_store_before_any_work(project, monkeypatch):
    monkeypatch.setenv(runs.SETTLED_BY_FLOW, "60")
    (project.root / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(UsageError, match="damaged or no SQLite file"), stage_run(context(project.root), {}):
        pass
    assert leftovers(project.root) == []
