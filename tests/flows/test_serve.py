"""`genworks serve`: it answers, then it is gone; what cannot be served is said before anything starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.engines.serving.served_project import events, make_served_project
from tests.engines.tracking.registered_project import toy_importable
from tests.flows.toy_project import genworks, quiet_environment
from tests.over_http import answer_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "project"
    with pytest.MonkeyPatch.context() as patch, toy_importable(path):
        for name in [name for name in os.environ if name.startswith(("MLFLOW_", "GENWORKS_"))]:
            patch.delenv(name)
        make_served_project(path)
    (path / ".dvc").mkdir()
    return path


def start(root, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "serve", "--json", *words],
        cwd=root, env=quiet_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_champions_answer_until_the_command_is_stopped_and_nothing_is_left(root, sign):
    process = start(root, *(["toy"] if sign is signal.SIGINT else []))
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert (told["systems"], told["token"]) == ({"toy": 1}, False)
    answered = answer_of(f"{told['url']}/predict/toy", {"inputs": [{"text": "hello"}]})
    assert answered["answers"][0]["output"] == "ifmmp"
    family = psutil.Process(process.pid).children(recursive=True)
    assert [one for one in family if "answers.py" in " ".join(one.cmdline())]
    process.send_signal(sign)
    process.communicate(timeout=90)
    psutil.wait_procs(family, timeout=30)
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert set(answered["ids"]) <= {one["id"] for one in events(root)}
    if sign is signal.SIGINT:
        assert process.returncode == 0
        assert list((root / ".work/scratch").glob("serve-*")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "No system is called 'nothing'"),
        (["toy", "--host", "0.0.0.0"], "only to those who have a token"),
        (["toy", "--port", "0"], "a port from 1 to 65535"),
        (["--waiting", "0"], "a whole number from 1"),
    ],
)
def test_what_cannot_be_served_is_bad_usage(root, words, said):
    done = genworks(root, "serve", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_system_without_a_champion_and_a_project_without_any_say_what_to_run(root, toy):
    done = genworks(toy, "serve")
    assert done.returncode == 2
    assert "No system has a champion" in done.stderr
    done = genworks(toy, "serve", "toy")
    assert done.returncode == 2
    assert "'toy' has no champion to answer. What to do: genworks run toy." in done.stderr


def test_a_changed_version_is_not_served(root):
    weights = next((root / "mlartifacts").rglob("weights.json"))
    kept = weights.read_text()
    weights.write_text(kept.replace("1", "2"))
    try:
        done = genworks(root, "serve", "toy", timeout=600)
    finally:
        weights.write_text(kept)
    assert done.returncode == 1
    assert "toy cannot be served" in done.stderr
    assert "not those that were registered" in done.stderr
