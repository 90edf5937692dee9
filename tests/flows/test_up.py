"""`genworks up`: everything answers, then everything is gone."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from flows import worker
from tests.flows.toy_project import REPOSITORY, genworks, quiet_environment, runs_of
from tests.over_http import answer_of, ask


def start(root, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "up", "--json", *words],
        cwd=root, env=quiet_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def login_of(root):
    path = root / ".prefect/login"
    assert path.stat().st_mode & 0o777 == 0o600
    return "Basic " + base64.b64encode(path.read_text().strip().encode()).decode()


def attack(root, prefect, mlflow):
    """A foreign page, a foreign name for this server, another user of the machine: nothing answers them."""
    flows, experiments = f"{prefect}/api/flow_runs/filter", f"{mlflow}/api/2.0/mlflow/experiments/create"
    own = login_of(root)
    for url, body in ((flows, {}), (experiments, {"name": "mine"})):
        for origin in ("https://evil.example", "http://localhost:8888", "null"):
            assert ask(url, body, Authorization=own, Origin=origin).status_code == 403
            preflight = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
            refused = ask(url, method="OPTIONS", Origin=origin, **preflight)
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers
        assert ask(url, body, Authorization=own, Host="evil.example").status_code == 403
        assert ask(url, body).status_code == 401
        assert ask(url, body, Authorization="Basic eDp5").status_code == 401
        assert ask(url, body, Authorization=own, Origin=url.split("/api")[0]).status_code == 200
    assert ask(f"{mlflow}/").status_code == 401  # its pages too: they act with the login that the browser remembers
    token = (root / ".prefect/login").read_text().strip().split(":")[1]
    everywhere = [*(root / ".prefect").rglob("*.log"), *(root / ".prefect").glob("*.db*")]
    assert not [path for path in everywhere if token.encode() in path.read_bytes()]
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if token in " ".join(line)]


def try_foreign_deployments(root, prefect):
    """With the login even: a shell step, another program, an environment. The worker runs none of them."""
    own = {"Authorization": login_of(root)}
    api = f"{prefect}/api"

    def post(path, body):
        return answer_of(f"{api}/{path}", body, **own)

    pool = {
        "work_pool_name": "genworks",
        "entrypoint": "flows/pipeline.py:pipeline",
        "enforce_parameter_schema": False,
    }
    flow = post("flows/", {"name": "pipeline"})["id"]
    mark = root / "attacked"
    step = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {mark}"}}
    (root / "evil.py").write_text(f"open({str(mark)!r}, 'w')\ndef pipeline(systems): pass\n")
    runs = {}
    for name, more in {
        "shell": {"pull_steps": [step]},
        "toy": {"pull_steps": [step]},  # the name of one that prefect.yaml has
        "program": {"entrypoint": "evil.py:pipeline", "path": str(root)},
        "command": {"job_variables": {"command": f"touch {mark}"}},
        "environment": {"job_variables": {"env": {"PYTHONPATH": str(root)}}},
    }.items():
        made = post("deployments/", {"name": name, "flow_id": flow, **pool, **more})
        runs[name] = post(f"deployments/{made['id']}/create_flow_run", {"parameters": {"systems": ["toy"]}})["id"]
    deadline = time.monotonic() + 90
    while True:
        states = {name: answer_of(f"{api}/flow_runs/{run}", **own)["state"] for name, run in runs.items()}
        if all(state["type"] == "CRASHED" for state in states.values()):
            break
        assert time.monotonic() < deadline, states
        time.sleep(0.5)
    assert all("Not run" in state["message"] for state in states.values()), states
    assert not mark.exists()
    assert runs_of(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_up_serves_until_it_is_stopped_and_leaves_nothing(toy, sign):
    process = start(toy)
    assert process.stdout is not None
    links = json.loads(process.stdout.readline())
    assert ask(f"{links['prefect']}/api/health").status_code == 200
    assert ask(f"{links['mlflow']}/health").status_code == 200
    family = psutil.Process(process.pid).children(recursive=True)
    if sign is signal.SIGINT:
        attack(toy, links["prefect"], links["mlflow"])
        refused = genworks(toy, "up")  # a second one, which leaves the first alone
        assert refused.returncode == 2
        assert "runs here already" in refused.stderr
        assert (toy / ".prefect/server.json").exists()
    if sign is signal.SIGINT:  # a run uses the server that is up, where its pages can be seen afterwards
        done = genworks(toy, "run", "toy", "--set", "toy.join.seed=5")
        assert done.returncode == 0, done.stderr
        runs = answer_of(f"{links['prefect']}/api/flow_runs/filter", {}, Authorization=login_of(toy))
        assert [run["state_name"] for run in runs] == ["Completed"]
    process.send_signal(sign)
    process.communicate(timeout=60)
    psutil.wait_procs(family, timeout=60)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    if sign is not signal.SIGKILL:
        assert process.returncode == 0
        assert not (toy / ".prefect/server.json").exists()


@pytest.mark.slow
def test_the_worker_runs_deployments_of_the_project_only(toy, monkeypatch):
    document = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    ours = document["deployments"][0] | {"name": "toy", "parameters": {"systems": ["toy"]}, "schedules": []}
    (toy / "prefect.yaml").write_text(yaml.safe_dump(document | {"deployments": [ours]}))
    (toy / "flows").symlink_to(REPOSITORY / "flows")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
    process = start(toy)
    try:
        assert process.stdout is not None
        try_foreign_deployments(toy, json.loads(process.stdout.readline())["prefect"])
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, "no deployment 'other'"),
        ({"entrypoint": "evil.py:pipeline"}, "runs evil.py:pipeline"),
        ({"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "x"}}]}, "steps of its own"),
        ({"pull_steps": [{worker.DIRECTORY_STEP: {"directory": "/elsewhere"}}]}, "steps of its own"),
        ({"variables": {"command": "x"}}, "sets command"),
        ({"pull_steps": None}, None),
        ({}, None),
    ],
)
def test_a_deployment_is_ours_only_as_prefect_yaml_has_it(change, said):
    ours = {"name": "clip", "entrypoint": worker.ENTRYPOINT, "variables": {}}
    ours["pull_steps"] = [{worker.DIRECTORY_STEP: {"directory": str(REPOSITORY)}}]
    why = worker.refusal(REPOSITORY, **ours | change)
    assert why is None if said is None else said in why


def test_taken_port_is_refused(toy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = genworks(toy, "up", "--prefect-port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "is taken" in done.stderr
