"""The command's manners: quick help, clear refusals, exit codes, JSON alone on stdout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest

from flows import cli
from tests.flows.toy_project import REPOSITORY, edit, genworks, quiet_environment

VERBS = [
    "list", "run", "plan", "estimate", "why", "accept", "compare", "promote", "rollback", "history", "lineage", "reproduce",
    "predict", "whatif", "report", "doctor", "up",
]  # fmt: skip


def test_help_names_every_verb_at_once():
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - started)
    assert all(verb in done.stdout for verb in VERBS)
    bare = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import argparse"], cwd=REPOSITORY, check=True)
        bare.append(time.perf_counter() - started)
    assert min(times) < min(bare) + 0.2  # 0.3 s in all on a machine that starts Python in 0.1


def test_help_loads_nothing_heavy():
    code = "import sys; from flows import cli; cli._parser(); print([m for m in sys.modules if m in {'yaml', 'pydantic', 'dvc'}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_json_and_debug_and_a_module(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--json" in said
    assert "--debug" in said
    module = {"list": "listing"}.get(verb, verb)
    assert (REPOSITORY / f"flows/commands/{module}.py").is_file()


def test_bad_usage_exits_2(toy):
    for words in (
        ["frobnicate"],
        ["run"],
        ["run", "toy", "--jobs", "0"],
        ["plan", "nosuch"],
        ["why", "nosuch"],
        ["run", "toy", "--all"],
    ):
        done = genworks(toy, *words)
        assert done.returncode == 2, words
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


def test_outside_a_project(tmp_path):
    done = genworks(tmp_path, "list")
    assert done.returncode == 2
    assert "Not inside a genworks project" in done.stderr


@pytest.mark.parametrize(("missing", "said"), [(".git", "git init"), (".dvc", "dvc init")])
def test_without_git_or_dvc(toy, missing, said):
    shutil.rmtree(toy / missing)
    for verb in (["list"], ["plan", "toy"], ["run", "toy"]):
        done = genworks(toy, *verb)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1  # one paragraph
    done = genworks(toy, "doctor", "--json")
    assert done.returncode == 1
    assert any(said in finding["detail"] for finding in json.loads(done.stdout) if finding["state"] == "fail")


def test_bad_params_file_is_named(toy):
    (toy / "params.yaml").write_text("toy: [1\n")
    done = genworks(toy, "run", "toy")
    assert done.returncode == 2
    assert "params.yaml" in done.stderr


def test_syntax_error_in_a_stage_is_named(toy):
    edit(toy / "components/toy/gears.py", "return [", "return [[")
    done = genworks(toy, "run", "toy")
    assert done.returncode == 2
    assert "gears.py:" in done.stderr


def test_debug_shows_the_traceback(toy):
    done = genworks(toy, "why", "nosuch", "--debug")
    assert "Traceback" in done.stderr


def test_list(toy):
    assert json.loads(genworks(toy, "list", "--json").stdout) == [
        {
            "system": "toy",
            "stages": ["toy-make", "toy-double", "toy-square", "toy-join"],
            "champion": None,
            "problems": [],
        }
    ]
    shutil.rmtree(toy / ".dvc/tmp", ignore_errors=True)
    (toy / ".dvc/tmp").touch()  # where DVC can take no lock, as in a project that may only be read
    assert "make → double → square → join" in genworks(toy, "list").stdout


def test_plan_takes_set_and_profile(toy):
    (toy / "infra/profiles").mkdir(parents=True)
    (toy / "infra/profiles/quick.yaml").write_text("toy.make.count: 2\n")
    done = genworks(toy, "plan", "toy", "--profile", "quick", "--set", "toy.join.label=sum", "--json")
    assert json.loads(done.stdout)[0]["reasons"] == ["param toy.make.count: 4 → 2"]
    assert "count: 2  # how many numbers" in (toy / "params.yaml").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["run", "nosuch", "--set", "toy.make.count=2"],
        ["run", "toy", "--until", "nosuch", "--set", "toy.make.count=2"],
        ["plan", "toy", "--until", "nosuch", "--set", "toy.make.count=2"],
        ["run", "--set", "toy.make.count=2"],
        ["run", "toy", "--set", "toy.make.count=2", "--set", "toy.make.nosuch=1"],
        ["run", "toy", "--until", "make", "--set", "toy.square.power=two"],
        ["plan", "toy", "--set", "toy.make.count=2024-05-01"],
    ],
)
def test_what_is_refused_is_not_written(toy, words):
    before = (toy / "params.yaml").read_bytes()
    done = genworks(toy, *words, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert (toy / "params.yaml").read_bytes() == before


@pytest.mark.parametrize("until", ["make", "nosuch"])
def test_until_of_several_systems_is_refused_before_params_are_written(toy, until):
    edit(toy / "dvc.yaml", "  toy-make:", "  other-make:\n    cmd: echo\n  toy-make:")
    before = (toy / "params.yaml").read_bytes()
    for words in (["run", "toy", "other"], ["run", "--all"], ["plan", "toy", "other"]):
        done = genworks(toy, *words, "--until", until, "--set", "toy.make.count=2")
        assert done.returncode == 2, done.stderr
        assert until in done.stderr
        assert (toy / "params.yaml").read_bytes() == before


def test_history_of_an_unknown_system_is_refused(toy):
    done = genworks(toy, "history", "tyo")
    assert done.returncode == 2
    assert "did you mean toy" in done.stderr


@pytest.mark.parametrize("words", [["why", b"st\xffge"], ["predict", "toy", b"\xff\xfe"]])
def test_a_word_that_is_not_utf_8_is_refused(toy, words):
    done = genworks(toy, *words)
    assert done.returncode == 2
    assert f"Argument {len(words)} is not UTF-8" in done.stderr
    assert done.stderr.count("\n") == 1


def test_doctor_survives_odd_keys(toy):
    edit(toy / "dvc.yaml", "  toy-make:", "  1:\n    cmd: echo\n  toy-make:")
    edit(toy / "params.yaml", "toy:\n", "2: {}\ntoy:\n")
    done = genworks(toy, "doctor", "--json")
    assert done.returncode == 1
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert "1, 2" in " ".join(sorted(findings["dvc.yaml, params.yaml"]["detail"].replace("2, 1", "1, 2").split("  ")))
    assert findings["disk"]["state"] in ("ok", "warn")


def test_doctor_names_a_damaged_database_a_dead_server_and_what_kills_left(toy):
    (toy / ".prefect").mkdir(exist_ok=True)
    (toy / ".prefect/prefect.db").write_bytes(b"SQLite format 3\0" + b"x" * 4000)
    (toy / ".work/estimate-abc").mkdir(parents=True)
    done = genworks(toy, "doctor", "--json", PREFECT_API_URL="http://me:pa@127.0.0.1:9/api", TMPDIR="/tmp/" + "x" * 90)
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert "set" in findings["Prefect's database"]["detail"]
    assert findings["Prefect"]["state"] == "fail"
    assert "unset PREFECT_API_URL" in findings["Prefect"]["detail"]
    assert "export TMPDIR=/tmp" in findings["a run's conditions"]["detail"]
    assert ".work/estimate-abc" in findings["left by killed runs"]["detail"]
    assert "me:pa" not in done.stdout


def test_doctor_in_a_sound_project(toy):
    done = genworks(toy, "doctor", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, findings
    assert {"Python", "Ray", "disk", "MLflow"} <= {finding["what"] for finding in findings}


def test_doctor_finds_what_a_kill_left(toy):
    (toy / ".dvc/tmp/rwlock").write_text('{"read": {}, "write"')
    assert any("cut short" in f["detail"] for f in json.loads(genworks(toy, "doctor", "--json").stdout))
    (toy / ".dvc/tmp/rwlock").write_text('{"read": {}, "write": {"x": {"pid": 4194399, "cmd": "dvc"}}}')
    assert any("4194399" in f["detail"] for f in json.loads(genworks(toy, "doctor", "--json").stdout))


def test_reader_that_goes_away_is_no_failure(toy):
    command = f"{sys.executable} -m flows.cli list | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=toy, capture_output=True, text=True, check=False, env=quiet_environment()
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_options_may_stand_before_between_and_after_the_words_of_a_list():
    told = cli._parsed(["predict", "toy", "--out", "a.png", "one", "--json", "two"])
    assert (told.system, told.inputs, told.out, told.json) == ("toy", ["one", "two"], "a.png", True)
    assert cli._parsed(["predict", "toy", "--prompt", "one", "--text", "two"]).text == ["one", "two"]
    assert cli._parsed(["compare", "toy", "--json", "bars"]).names == ["bars"]
    for words in (["predict", "toy", "one", "--otu", "a.png"], ["history", "toy", "--json", "more"]):
        with pytest.raises(SystemExit):
            cli._parsed(words)
