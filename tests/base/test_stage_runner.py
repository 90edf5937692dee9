"""Stages run as commands: whole outputs or none, one clear error, one owner, no orphans."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from components.engines.base.block import block_of
from flows import dag
from tests.flows.toy_project import dvc, edit, make_toy_project, quiet_environment, runs_of


@pytest.fixture
def toy(tmp_path):
    return make_toy_project(tmp_path / "toy")


def stage(root, name, *arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", f"components.toy.{name}", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=quiet_environment(**env),
    )


def start(root, name, **env):
    return subprocess.Popen([sys.executable, "-m", f"components.toy.{name}"], cwd=root, env=quiet_environment(**env))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_stage_writes_its_output_and_leaves_nothing_else(toy):
    assert stage(toy, "make").returncode == 0
    assert json.loads((toy / "data/toy/numbers.json").read_text()) == [0, 1, 2, 3]
    assert [path.name for path in (toy / "data/toy").iterdir()] == ["numbers.json"]
    assert [path.name for path in (toy / ".work/toy-make").iterdir()] == ["lock"]


def test_help_answers_with_the_docstring_and_without_running(toy):
    done = stage(toy, "make", "--help")
    assert done.returncode == 0
    assert "Write 0 … count - 1." in done.stdout
    assert runs_of(toy) == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("count: 4", "cuont: 4", "unknown key 'toy.make.cuont'"),
        ("count: 4", "count: many", "key 'toy.make.count' is wrong"),
        ("    count: 4  # how many numbers\n", "", "key 'toy.make.count' is missing"),
        ("  make:", "  maker:", "no section 'toy.make'"),
        ("  make:", "  make: [", "not valid YAML"),
    ],
)
def test_bad_params_are_refused_before_anything_runs(toy, old, new, named):
    edit(toy / "params.yaml", old, new)
    done = stage(toy, "make")
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert runs_of(toy) == []
    assert not (toy / "data/toy/numbers.json").exists()


def test_a_missing_input_says_which_and_what_to_do(toy):
    done = stage(toy, "double")
    assert done.returncode == 2
    assert "Input 'numbers' does not exist" in done.stderr
    assert "genworks run" in done.stderr


def test_a_failure_leaves_no_output_and_tells_the_flow(toy):
    edit(toy / "params.yaml", "fail: none", "fail: explained")
    done = stage(toy, "make")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("error: The toy broke. Where: make. What to do: mend the toy.")
    assert not (toy / "data/toy").exists() or not list((toy / "data/toy").iterdir())
    assert json.loads((toy / ".work/toy-make/outcome.json").read_text())["exit_code"] == 1


def test_records_that_stopped_a_stage_are_kept_under_reports_until_it_succeeds(toy):
    broken = """from collections import Counter

    from components.engines.base.funnel import Funnel
    rows = [{"key": f"{n}", "reason": "too long", "detail": "a b"} for n in range(3)]
    Funnel(4, 1, Counter({"too long": 3})).check(where="toy", max_rejected_fraction=0.5, records=rows)"""
    edit(toy / "components/toy/make.py", 'meet("make", params.fail, params.sleep)', broken)
    said = stage(toy, "make").stderr
    assert "3 of 4 records are rejected, more than max_rejected_fraction 0.5 (too long: 3)" in said
    assert "for example too long (0: a b); all 3 that were left out are listed in" in said
    kept = toy / "reports/toy/make-unusable.jsonl"
    assert [json.loads(line)["key"] for line in kept.read_text().splitlines()] == ["0", "1", "2"]
    edit(toy / "components/toy/make.py", "max_rejected_fraction=0.5", "max_rejected_fraction=0.75")
    assert stage(toy, "make").returncode == 0
    assert not kept.exists()


def test_records_that_are_read_from_the_outputs_are_kept_before_those_go(toy):
    broken = """from collections import Counter

    from components.engines.base.evidence import RecordFile
    from components.engines.base.funnel import Funnel
    with RecordFile(numbers) as rows:
        for number in range(3):
            rows.append({"key": f"{number}", "reason": "too long", "detail": "a b"})
    Funnel(4, 1, Counter({"too long": 3})).check(where="toy", max_rejected_fraction=0.5, records=rows)"""
    edit(toy / "components/toy/make.py", 'meet("make", params.fail, params.sleep)', broken)
    assert "for example too long (0: a b); all 3 that were left out" in stage(toy, "make").stderr
    kept = toy / "reports/toy/make-unusable.jsonl"
    assert [json.loads(line)["key"] for line in kept.read_text().splitlines()] == ["0", "1", "2"]
    assert not list((toy / "data/toy").iterdir())


def test_a_stage_that_stopped_as_told_exits_130_and_leaves_its_words_for_the_flow(toy):
    told = "from components.engines.base.errors import Stopped\n\n    raise Stopped('Stopped after step 3')"
    edit(toy / "components/toy/make.py", 'meet("make", params.fail, params.sleep)', told)
    done = stage(toy, "make")
    assert done.returncode == 130
    assert done.stderr.strip().endswith("error: Stopped after step 3.")
    outcome = json.loads((toy / ".work/toy-make/outcome.json").read_text())
    assert outcome == {"exit_code": 130, "message": "Stopped after step 3."}
    assert not list((toy / "data/toy").iterdir())


def test_a_failure_nobody_foresaw_is_named_with_its_line_and_debug_shows_the_traceback(toy):
    edit(toy / "components/toy/make.py", "list(range(params.count))", "1 / 0")
    assert "ZeroDivisionError" in stage(toy, "make").stderr
    assert "make.py:" in stage(toy, "make").stderr
    assert "Traceback" not in stage(toy, "make").stderr
    assert "Traceback" in stage(toy, "make", "--debug").stderr


def test_a_stage_that_forgets_an_output_fails(toy):
    edit(toy / "components/toy/make.py", "    numbers.write_text(json.dumps(list(range(params.count))))\n", "")
    assert "did not write ['numbers']" in stage(toy, "make").stderr


def test_code_edited_after_its_fingerprint_was_taken_never_passes_for_the_old(toy):
    """Edit, run, revert: the plan must not say `cached` of what the edit made."""
    dvc(toy, "repro", "--single-item", "code")
    edit(toy / "components/toy/make.py", "range(params.count)", "range(1, params.count)")
    done = dvc(toy, "repro", "--single-item", "toy-make", check=False)
    edit(toy / "components/toy/make.py", "range(1, params.count)", "range(params.count)")
    assert done.returncode != 0
    assert "edited after this run took its fingerprint (definition components.toy.make.make changed)" in done.stderr
    assert "never run" in dag.why(toy, "make").reasons
    dvc(toy, "repro", "toy-make")
    assert json.loads((toy / "data/toy/numbers.json").read_text()) == [0, 1, 2, 3]


def test_code_edited_while_it_ran_is_refused_at_the_end(toy):
    """What a stage loads late may be the edit's: the outputs belong to neither version."""
    edit(toy / "params.yaml", "sleep: 0.0", "sleep: 1.5")
    running = subprocess.Popen(
        [sys.executable, "-m", "components.toy.make"],
        cwd=toy,
        stderr=subprocess.PIPE,
        text=True,
        env=quiet_environment(),
    )
    wait_for(lambda: runs_of(toy))
    edit(toy / "components/toy/trouble.py", '"explained"', '"told"')
    _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "edited while it ran (definition components.toy.trouble.meet changed)" in said
    assert not (toy / "data/toy/numbers.json").exists()


def test_params_edited_while_it_ran_are_not_recorded_as_its_own(toy):
    edit(toy / "params.yaml", "sleep: 0.0", "sleep: 1.5")
    running = subprocess.Popen(
        [sys.executable, "-m", "components.toy.make"],
        cwd=toy,
        stderr=subprocess.PIPE,
        text=True,
        env=quiet_environment(),
    )
    wait_for(lambda: runs_of(toy))
    edit(toy / "params.yaml", "count: 4", "count: 5")
    _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "toy.make were edited while the stage ran" in said
    assert not (toy / "data/toy/numbers.json").exists()


def test_a_second_copy_waits_for_the_first_and_says_who_holds_it(toy):
    edit(toy / "params.yaml", "sleep: 0.0", "sleep: 2")
    first = start(toy, "make")
    wait_for(lambda: runs_of(toy))
    second = stage(toy, "make")
    assert first.wait(30) == 0
    assert second.returncode == 0
    assert f"process {first.pid}" in second.stderr


def test_deleting_the_work_folder_under_a_running_stage_stops_it_from_publishing(toy):
    edit(toy / "params.yaml", "sleep: 0.0", "sleep: 1.5")
    running = subprocess.Popen(
        [sys.executable, "-m", "components.toy.make"],
        cwd=toy,
        stderr=subprocess.PIPE,
        text=True,
        env=quiet_environment(),
    )
    wait_for(lambda: runs_of(toy))
    (toy / ".work/toy-make/lock").unlink()
    _, said = running.communicate(timeout=30)
    assert "lost its work folder" in said
    assert not (toy / "data/toy/numbers.json").exists()


def test_kill_9_of_dvc_takes_the_stage_with_it(toy):
    edit(toy / "params.yaml", "sleep: 0.0", "sleep: 60")
    repro = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q", "toy-make"], cwd=toy, env=quiet_environment())
    wait_for(lambda: runs_of(toy))
    pid = int((toy / ".work/runs.log").read_text().split()[1])
    os.kill(repro.pid, signal.SIGKILL)
    repro.wait()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_detached_run_takes_other_inputs_and_publishes_elsewhere(toy, tmp_path):
    (tmp_path / "others.json").write_text("[10]")
    done = stage(toy, "double", "--input", f"numbers={tmp_path}/others.json", "--outputs", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/doubled.json").read_text()) == [20]
    assert not (toy / "data/toy/doubled.json").exists()
    assert not (tmp_path / "out/.work").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "x=1", "--outputs", "o"], "No input called"),
        (["--input", "x"], "NAME=PATH"),
        (["--input", "a=b"], "--outputs"),
        (["--probe", "figures.json"], "--probe needs --outputs"),
    ],
)
def test_a_detached_run_with_wrong_arguments_is_refused(toy, arguments, said):
    done = stage(toy, "double", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_paths_that_share_their_name_are_told_apart_by_their_folder(tmp_path):
    deps = ["data/clip/model", "data/image_captioning/model", "data/x/cleaned"]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"x-y": {"cmd": "", "deps": deps}}}))
    assert set(block_of(tmp_path, "x-y").inputs) == {"clip_model", "image_captioning_model", "cleaned"}


def test_paths_that_share_a_stem_are_told_apart_by_their_suffix(tmp_path):
    outs = ["reports/x/scores.json", "reports/x/scores.jsonl", {"reports/x/other.csv": {"cache": False}}]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"x-y": {"cmd": "true", "outs": outs}}}))
    assert set(block_of(tmp_path, "x-y").outputs) == {"scores_json", "scores_jsonl", "other"}


def test_unfinished_work_of_old_keys_is_bounded_but_the_newest_are_kept(toy):
    for age in range(6):
        folder = toy / f".work/toy-make/old{age}"
        folder.mkdir(parents=True)
        os.utime(folder, (age, age))
    assert stage(toy, "make").returncode == 0
    assert sorted(path.name for path in (toy / ".work/toy-make").iterdir()) == ["lock", "old3", "old4", "old5"]


def test_outside_a_project_the_message_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "components.translation.ingest"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Not inside a genworks project" in done.stderr
