"""The main job at small size, as a user meets it: run, reproduce, kill, predict, promote, roll back."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.over_http import first_answer
from tests.translation.project_copy import attempt, commit, copy_project, dvc, environment, genworks, hashes

pytestmark = pytest.mark.slow
TRAINED = "data/translation/model"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """One project for the whole file; tests run in order and leave it up to date."""
    root = copy_project(tmp_path_factory.mktemp("clone"))
    done = genworks(root, "run", "translation", "--json")
    assert done.returncode == 0, done.stderr
    (root / "first.json").write_text(done.stdout)
    return root


@pytest.mark.timeout(600)
def test_a_run_from_nothing_ends_with_a_champion_a_report_and_a_ledger_line(project):
    summary = json.loads((project / "first.json").read_text())
    assert {stage["state"] for stage in summary["stages"]} == {"done"}
    assert summary["metrics"]["translation"]
    listed = json.loads(genworks(project, "list", "--json").stdout)
    assert {row["system"]: str(row["champion"]) for row in listed if row["champion"]} == {"translation": "1"}
    page = (project / "reports/translation/report.html").read_text()
    assert "<svg" in page
    assert "promoted" in page
    assert "src=" not in page
    history = json.loads(genworks(project, "history", "translation", "--json").stdout)
    assert len(history["lines"] if isinstance(history, dict) else history) == 1


def test_neither_runner_finds_anything_to_do_after_the_other(project):
    again = dvc(project, "repro", "translation-register")
    assert "Running stage 'translation" not in again
    nothing = json.loads(genworks(project, "run", "translation", "--json").stdout)
    assert {stage["state"] for stage in nothing["stages"]} == {"cached"}
    assert "translation" not in dvc(project, "status")


@pytest.mark.timeout(400)
def test_forced_reproduction_gives_the_same_bytes(project):
    before = hashes(project)
    dvc(project, "repro", "--force", "translation-evaluate")
    assert hashes(project) == before


def test_a_comment_reruns_nothing_and_a_change_in_an_engine_exactly_what_sees_it(project):
    engine = project / "components/engines/scoring/buckets.py"
    text = engine.read_text()
    engine.write_text("# a comment\n" + text.replace('"""The bucket', '"""In other words: the bucket'))
    assert [row["stage"] for row in plan(project) if row["run"]] == []
    engine.write_text(text.replace('return "0"', 'return "none"'))
    assert {row["stage"] for row in plan(project) if row["run"]} == {"translation-evaluate", "translation-register"}
    why = genworks(project, "why", "translation-evaluate").stdout
    assert "components.engines.scoring.buckets" in why
    accepted = genworks(project, "accept", "translation-evaluate", "--why", "no test sentence is empty")
    assert accepted.returncode == 0, accepted.stderr
    assert [row["stage"] for row in plan(project) if row["run"]] == []
    engine.write_text(text)
    (project / "code_accepted.jsonl").unlink()


def plan(project):
    done = genworks(project, "plan", "translation", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(400)
def test_training_killed_at_random_moments_ends_in_the_same_bytes(project):
    before = hashes(project)
    wait = random.Random(os.environ.get("PYTEST_RANDOM", time.time_ns()))
    for _ in range(2):
        running = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "-q", "--force", "--single-item", "translation-finetune"],
            cwd=project,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        checkpoints = project / ".work/translation-finetune"
        deadline = time.monotonic() + 120
        while not list(checkpoints.glob("*/checkpoints/step-*")) and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(wait.uniform(0, 1.5))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    dvc(project, "repro", "-q", "translation-evaluate")
    assert hashes(project)[TRAINED] == before[TRAINED]
    assert hashes(project) == before


def test_the_champion_translates_lines_of_stdin(project):
    done = genworks(project, "predict", "translation", text="the red cat sees the dog.\n\nthe cats hide the boat.\n")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.rstrip("\n").split("\n")
    assert len(lines) == 3
    assert lines[1] == ""
    assert lines[0]


@pytest.mark.timeout(500)
def test_a_worse_candidate_is_refused_a_better_one_promoted_and_rollback_says_what_it_stands_on(project):
    worse = genworks(project, "run", "translation", "--set", "translation.finetune.training.max_steps=10", "--json")
    assert worse.returncode == 1, worse.stdout
    verdict = json.loads((project / "reports/translation/verdict.json").read_text())
    assert verdict["decision"] == "refused"
    interval = verdict["checks"]["comparison"]["metrics"]["bleu"]
    assert interval["worse"]
    assert interval["high"] < 0
    assert any("bleu is not shown to be within" in reason for reason in verdict["reasons"])
    commit(project, "a longer training")
    better = genworks(project, "run", "translation", "--set", "translation.finetune.training.max_steps=500", "--json")
    assert better.returncode == 0, better.stdout + better.stderr
    rolled = genworks(project, "rollback", "translation")
    assert rolled.returncode == 0, rolled.stderr
    assert "data/translation/model" in rolled.stdout or "data/translation/cleaned" in rolled.stdout
    listed = json.loads(genworks(project, "list", "--json").stdout)
    assert {row["system"]: str(row["champion"]) for row in listed}["translation"] == "1"


def test_bad_params_and_no_git_are_one_message_and_exit_code_2(project, tmp_path):
    unknown = genworks(project, "run", "translation", "--set", "translation.finetune.trainning.max_steps=1")
    assert unknown.returncode == 2
    assert "trainning" in unknown.stderr
    (project / ".git").rename(tmp_path / "git")
    try:
        lost = genworks(project, "run", "translation")
    finally:
        (tmp_path / "git").rename(project / ".git")
    assert lost.returncode == 2
    assert "git" in lost.stderr
    assert "Traceback" not in unknown.stderr + lost.stderr


def test_the_model_is_served_over_http(project):
    port = str(random.randint(20000, 40000))
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            "models:/translation@champion",
            "--env-manager",
            "local",
            "-p",
            port,
        ],
        cwd=project,
        env=environment() | {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"},
        start_new_session=True,
    )
    try:
        inputs = [{"text": "the red cat sees the dog."}, {"text": ""}]
        answer = first_answer(f"http://127.0.0.1:{port}/invocations", {"inputs": inputs}, server)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert [bool(one["translation"]) for one in answer["predictions"]] == [True, False]


def test_no_half_outputs_are_left_anywhere(project):
    assert attempt(project, "find", "data", "reports", "-name", ".*.partial").stdout == ""
