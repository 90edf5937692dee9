"""`genworks up`: everything answers, then everything is gone."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest

from tests.flows.toy_project import genworks, quiet_environment


def start(root, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "up", "--json", *words],
        cwd=root, env=quiet_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def status(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.status


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_up_serves_until_it_is_stopped_and_leaves_nothing(toy, sign):
    process = start(toy)
    assert process.stdout is not None
    links = json.loads(process.stdout.readline())
    assert status(f"{links['prefect']}/api/health") == 200
    assert status(f"{links['mlflow']}/health") == 200
    family = psutil.Process(process.pid).children(recursive=True)
    if sign is signal.SIGINT:  # a run uses the server that is up, where its pages can be seen afterwards
        done = genworks(toy, "run", "toy", "--set", "toy.join.seed=5")
        assert done.returncode == 0, done.stderr
        request = urllib.request.Request(
            f"{links['prefect']}/api/flow_runs/filter", b"{}", {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            assert [run["state_name"] for run in json.loads(response.read())] == ["Completed"]
    process.send_signal(sign)
    process.communicate(timeout=60)
    psutil.wait_procs(family, timeout=15)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    if sign is not signal.SIGKILL:
        assert process.returncode == 0
        assert not (toy / ".prefect/server.json").exists()


def test_taken_port_is_refused(toy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = genworks(toy, "up", "--prefect-port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "is taken" in done.stderr
