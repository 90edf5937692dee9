"""`genworks run`: same lock as `dvc repro`, parallel, retried where that helps, whole after any kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from components.engines.base.errors import StageError
from tests.flows.toy_project import dvc, edit, genworks, make_toy_project, quiet_environment, runs_of
from tests.over_http import answer_of


@pytest.fixture
def run(toy, prefect_url):
    return lambda *words, **env: genworks(toy, "run", "toy", *words, PREFECT_API_URL=prefect_url, **env)


def states(done):
    return {stage["stage"]: stage["state"] for stage in json.loads(done.stdout)["stages"]}


def clean(root):
    return dvc(root, "status").stdout.split() == ["code:", "always", "changed"]


def start(root, *words, **env):
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", "toy", *words],
        cwd=root, env=quiet_environment(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def outputs(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted((root / "data/toy").rglob("*")) if p.is_file()} | {
        "metrics": (root / "reports/toy/metrics.json").read_bytes()
    }


def lock(root):
    return yaml.safe_load((root / "dvc.lock").read_text())  # stages stand in the order in which they first ended


def wait_for(what, seconds=150.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_estimate_knows_how_long_what_has_just_run_took(fresh_toy_run):
    done = genworks(fresh_toy_run, "estimate", "toy", "--json")
    stages = json.loads(done.stdout)["stages"]
    assert [stage["source"] for stage in stages] == ["last run"] * 4
    assert all(stage["seconds"] > 0 for stage in stages)


def test_run_leaves_the_lock_that_dvc_repro_leaves(toy, fresh_toy_run):
    assert lock(fresh_toy_run) == lock(toy)
    assert outputs(fresh_toy_run) == outputs(toy)
    assert clean(fresh_toy_run)
    dvc(fresh_toy_run, "repro")
    assert sorted(runs_of(fresh_toy_run)) == ["double", "join", "make", "square"]


@pytest.fixture(scope="session")
def fresh_toy_run(tmp_path_factory, prefect_url):
    """A project brought up by one `genworks run`."""
    root = make_toy_project(tmp_path_factory.mktemp("fresh") / "project")
    done = genworks(root, "run", "toy", PREFECT_API_URL=prefect_url)
    assert done.returncode == 0, done.stderr
    assert "toy-join: done in" in done.stderr
    assert done.stderr.count("square says hello") == 1  # each line once
    assert done.stderr.count("square warns") == 1
    assert "total 26" in done.stdout
    return root


def test_nothing_to_do_needs_no_server(toy):
    done = genworks(toy, "run", "toy", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 0
    assert "Nothing to do" in done.stdout
    assert runs_of(toy) == []


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_param_of_the_last_stage_is_refused_before_the_first_one_runs(toy, verb):
    edit(toy / "params.yaml", "    power: 2\n", "    power: two\n")
    done = genworks(toy, verb, "toy", "--json", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert "toy.square" in done.stderr
    assert "power" in done.stderr
    assert runs_of(toy) == []


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_refused_edit_is_taken_back(toy, verb):
    before = (toy / "params.yaml").read_bytes()
    done = genworks(toy, verb, "toy", "--set", "toy.square.power=two", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert (toy / "params.yaml").read_bytes() == before


def test_a_server_that_fails_at_its_first_start_leaves_no_half_made_database(tmp_path, monkeypatch):
    from flows import servers
    from flows.child import Children

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for name in ("prefect.db", "prefect.db-wal"):
        broken = f"import pathlib, sys; pathlib.Path('{tmp_path}/prefect/{name}').write_text('half'); sys.exit(3)"
        (tmp_path / "prefect").mkdir(exist_ok=True)
        monkeypatch.setattr(
            servers,
            "start_prefect",
            lambda *_, code=broken, **__: subprocess.Popen([sys.executable, "-c", code], start_new_session=True),
        )
        with servers.prefect_api(tmp_path, Children()) as api, pytest.raises(StageError, match="ended with code 3"):
            api.wait()
        assert not list((tmp_path / "prefect").iterdir())


def test_only_what_changed_runs_and_the_rest_is_cached(toy, run):
    done = run("--set", "toy.double.factor=3", "--json")
    assert done.returncode == 0, done.stderr
    assert states(done) == {"toy-make": "cached", "toy-double": "done", "toy-square": "cached", "toy-join": "done"}
    assert sorted(runs_of(toy)) == ["double", "join"]
    assert json.loads(done.stdout)["metrics"]["toy"]["total"] == 32
    assert clean(toy)


def test_temporary_server_is_started_and_gone_afterwards(toy):
    done = genworks(toy, "run", "--all", "--set", "toy.join.seed=1", "--json")
    assert done.returncode == 0, done.stderr
    assert states(done)["toy-join"] == "done"
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if "uvicorn" in (c := p.info["cmdline"] or []) and str(toy) in c
    ]
    assert (toy / ".prefect/prefect.db").exists()


def test_explained_failure_stops_its_branch_only_and_is_not_retried(toy, run):
    done = run("--set", "toy.double.fail=explained", "--set", "toy.square.fail=usage", "--json")
    assert done.returncode == 1
    assert states(done) == {"toy-make": "cached", "toy-double": "failed", "toy-square": "failed", "toy-join": "blocked"}
    assert sorted(runs_of(toy)) == ["double", "square"]  # side by side, once each
    assert "correct it" in done.stderr
    assert "The toy broke. Where: double. What to do: mend the toy." in done.stderr
    error = next(s["error"] for s in json.loads(done.stdout)["stages"] if s["stage"] == "toy-double")
    assert error.startswith("The toy broke")


def test_killed_stage_and_lost_connection_are_retried(toy, run):
    done = run("--set", "toy.double.fail=killed-once", "--json")
    assert done.returncode == 0, done.stderr
    assert runs_of(toy) == ["double", "double"]
    assert states(done)["toy-join"] == "cached"  # the same numbers came out
    assert "again" in done.stderr
    done = run("--set", "toy.double.fail=connection", "--json")
    assert done.returncode == 1
    assert runs_of(toy) == ["double"] * 5  # two of before, then one try and two more


def test_independent_stages_run_side_by_side_and_jobs_bounds_them(toy, run):
    slow = ["--set", "toy.double.sleep=1.5", "--set", "toy.square.sleep=1.5", "--until", "join"]
    assert run(*slow, "--jobs", "2").returncode == 0
    a, b = started(toy)
    assert abs(a - b) < 1.4
    assert run("--force", "--jobs", "1").returncode == 0
    *_, a, b = started(toy)
    assert abs(a - b) >= 1.5
    assert clean(toy)


def started(root):
    lines = [line.split() for line in (root / ".work/runs.log").read_text().splitlines()]
    return [float(seconds) for name, _, seconds in lines if name in ("double", "square")]


def test_lock_is_valid_after_many_parallel_stages(tmp_path, prefect_url):
    root = make_toy_project(tmp_path / "project")
    document = yaml.safe_load((root / "dvc.yaml").read_text())
    params = yaml.safe_load((root / "params.yaml").read_text())
    for number in range(8):  # a system of eight independent stages, all the module of `square`
        name = f"many{number}"
        document["stages"][f"wide-{name}"] = {
            "cmd": f"python -c \"open('data/{name}','w').write('{number}')\"",
            "params": ["toy.square"],
            "outs": [f"data/{name}"],
        }
    (root / "dvc.yaml").write_text(yaml.safe_dump(document))
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    done = genworks(root, "run", "--all", "--jobs", "8", PREFECT_API_URL=prefect_url)
    assert done.returncode == 0, done.stderr
    assert clean(root)
    assert len(yaml.safe_load((root / "dvc.lock").read_text())["stages"]) == 13


@pytest.mark.parametrize("moment", [0.1, 1.7])
def test_killed_flow_leaves_no_process_and_the_next_run_equals_an_uninterrupted_one(toy, tmp_path, prefect_url, moment):
    whole = outputs(toy), lock(toy)
    root = make_toy_project(tmp_path / "killed")
    edit(root / "params.yaml", "sleep: 0.0", "sleep: 0.7")
    process = start(root, PREFECT_API_URL=prefect_url)
    wait_for(lambda: runs_of(root))
    time.sleep(moment)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family, timeout=60)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    edit(root / "params.yaml", "sleep: 0.7", "sleep: 0.0")
    done = genworks(root, "run", "toy", PREFECT_API_URL=prefect_url)
    assert done.returncode == 0, done.stderr
    assert (outputs(root), lock(root)) == whole
    assert clean(root)


def test_killed_flow_takes_its_temporary_server_along(toy):
    process = start(toy, "--set", "toy.double.sleep=30")
    wait_for(lambda: "double" in runs_of(toy))
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("uvicorn" in " ".join(p.cmdline()) for p in family)
    process.kill()
    process.wait()
    psutil.wait_procs(family, timeout=60)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_stops_the_stages_and_exits_130(toy, prefect_url):
    process = start(toy, "--set", "toy.double.sleep=30", PREFECT_API_URL=prefect_url)
    wait_for(lambda: "double" in runs_of(toy))
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=40)
    assert process.returncode == 130, output
    assert (toy / ".work/interrupted.log").read_text() == "double"  # it was told, and could have saved what it had
    assert "Traceback" not in output
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not list((toy / "data/toy").glob(".*.partial"))


def test_sigterm_stops_the_stages_within_seconds_and_exits_143(toy, prefect_url):
    process = start(toy, "--set", "toy.double.sleep=30", PREFECT_API_URL=prefect_url)
    wait_for(lambda: "double" in runs_of(toy))
    family = psutil.Process(process.pid).children(recursive=True)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert time.monotonic() - asked < 30  # 5 s on an idle machine
    assert (toy / ".work/interrupted.log").read_text() == "double"
    assert "Traceback" not in output
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_prefect_server_that_dies_during_the_run_takes_nothing_along(toy):
    process = start(toy, "--set", "toy.double.sleep=4", PREFECT_CLIENT_MAX_RETRIES="1")  # of 3 every call takes 14 s
    wait_for(lambda: "double" in runs_of(toy))
    family = psutil.Process(process.pid).children(recursive=True)
    server = next(p for p in family if "uvicorn" in " ".join(p.cmdline()))
    server.kill()
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "toy-join" in output
    assert "server went away" in output
    assert "Traceback" not in output
    assert dvc(toy, "status").stdout.split() == ["code:", "always", "changed"]


def test_files_of_dvc_cut_short_by_a_kill_are_mended(toy, run):
    assert run("--set", "toy.double.factor=3").returncode == 0
    for broken in ("dvc.lock", ".dvc/tmp/rwlock"):
        path = toy / broken
        path.write_text(path.read_text()[: len(path.read_text()) // 2] + "\n: [")
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("killed run") == 2
    assert "Nothing to do" in done.stdout
    assert clean(toy)


def test_a_path_that_another_dvc_uses_is_waited_for(toy, prefect_url):
    table = toy / ".dvc/tmp/rwlock"
    blocker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)", "repro"])
    held = {str(toy / "data/toy/doubled.json"): {"pid": blocker.pid, "cmd": "somebody's dvc repro"}}
    table.write_text(json.dumps({"read": {}, "write": held}))
    started_at = time.monotonic()
    process = start(toy, "--set", "toy.double.factor=3", PREFECT_API_URL=prefect_url)
    assert process.stdout is not None
    said = next(line for line in process.stdout if "somebody's dvc repro" in line)
    time.sleep(max(0, 6 - (time.monotonic() - started_at)))
    assert process.poll() is None, said  # it waits as long as the other one lives
    blocker.kill()
    blocker.wait()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert time.monotonic() - started_at > 6


def test_metrics_become_prefect_artifacts_and_cached_stages_are_named_so(toy, run, prefect_url):
    assert run("--set", "toy.join.seed=7").returncode == 0

    def ask(path, body):
        return answer_of(f"{prefect_url}/{path}", body)

    tables = ask("artifacts/filter", {"sort": "CREATED_DESC"})
    assert {"toy-metrics", "toy-plan"} <= {artifact["key"] for artifact in tables}
    wait_for(lambda: any(t["state_name"] == "Cached" for t in ask("task_runs/filter", {"limit": 200})))
    lines = ask("logs/filter", {"limit": 200, "sort": "TIMESTAMP_DESC"})
    assert any(line["message"] == "join says hello" for line in lines)
