"""What would run and why: DVC's view and ours agree, an edit reruns exactly what can see it, and the reason is named."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from components.engines.base.errors import UsageError
from flows import dag
from tests.flows.toy_project import clear_runs, dvc, edit, genworks, runs_of

ALL = ["toy-make", "toy-double", "toy-square", "toy-join"]


def to_run(root):
    return [plan.stage for plan in dag.plan(root, ["toy"]) if plan.run]


def reasons(root, stage):
    return dag.why(root, stage).reasons


def test_graph_is_the_one_dvc_sees(toy):
    from dvc.repo import Repo

    seen = {(a.name, b.name) for a, b in Repo(str(toy)).index.graph.edges if "code" not in (a.name, b.name)}
    ours = {(stage.name, up) for stage in dag.load(toy).stages.values() for up in stage.upstream}
    assert ours == seen
    assert list(dag.load(toy).stages) == ALL


def test_nothing_to_do_after_a_run(toy):
    assert to_run(toy) == []


def test_everything_never_ran_in_a_fresh_clone(fresh_toy):
    plans = dag.plan(fresh_toy, ["toy"])
    assert [plan.stage for plan in plans if plan.run] == ALL
    assert all("never run" in plan.reasons for plan in plans)


def test_planning_writes_nothing_but_what_it_remembers(toy):
    edit(toy / "components/toy/wheels.py", "number**power", "number**power + 0")

    def written():
        files = [path for path in toy.rglob("*") if path.is_file()]
        return {p: p.stat().st_mtime_ns for p in files if ".dvc/tmp" not in str(p) and ".work/code" not in str(p)}

    before = written()
    dag.plan(toy, ["toy"])
    assert written() == before


def test_comment_and_docstring_edits_rerun_nothing(toy):
    edit(toy / "components/toy/gears.py", '"""Each number times the factor."""', '"""Scaled."""  # by the factor')
    edit(toy / "components/engines/base/stage.py", "log = logging", "# a remark\nlog = logging")
    assert to_run(toy) == []
    dvc(toy, "repro")
    assert runs_of(toy) == []


def test_function_edit_reruns_exactly_the_stages_that_reach_it_and_names_it(toy):
    edit(toy / "components/toy/gears.py", "number * factor", "factor * number")
    assert to_run(toy) == ["toy-double", "toy-join"]
    assert "definition components.toy.gears.times changed" in reasons(toy, "toy-double")
    assert "definition components.toy.gears.times changed" in reasons(toy, "join")
    assert reasons(toy, "square") == []
    dvc(toy, "repro")
    assert runs_of(toy) == ["double", "join"]


def test_engine_edit_reruns_every_stage_that_uses_it(toy):
    edit(toy / "components/engines/base/stage.py", "sys.exit(_run_reporting(", "raise SystemExit(_run_reporting(")
    assert to_run(toy) == ALL
    assert "definition components.engines.base.stage.main changed" in reasons(toy, "toy-square")


def test_param_change_is_told_with_old_and_new_value(toy):
    edit(toy / "params.yaml", "factor: 2", "factor: 3")
    assert to_run(toy) == ["toy-double", "toy-join"]
    assert reasons(toy, "double") == ["param toy.double.factor: 2 → 3"]
    assert reasons(toy, "join") == ["upstream toy-double will run"]


def test_command_change_is_told(toy):
    edit(toy / "dvc.yaml", "python -m components.toy.square", "python -m components.toy.square --debug")
    assert "its command changed" in reasons(toy, "square")


def test_changed_and_missing_outputs_are_told(toy):
    (toy / "data/toy/doubled.json").write_text("[]")
    assert "output data/toy/doubled.json was changed by hand" in reasons(toy, "double")
    shutil.rmtree(toy / "data/toy/squared")
    assert "output data/toy/squared is missing (the cache has it: restored without running)" in reasons(toy, "square")


def test_outputs_that_only_need_restoring_rerun_nothing_downstream(toy):
    shutil.rmtree(toy / "data")
    plans = {plan.stage: plan for plan in dag.plan(toy, ["toy"])}
    assert plans["toy-make"].restore
    assert not plans["toy-join"].run


def test_library_version_is_named(toy, monkeypatch):
    from components.engines.base import fingerprint

    real = fingerprint.version_of
    monkeypatch.setattr(fingerprint, "version_of", lambda name: "99.1" if name == "psutil" else real(name))
    assert any(reason.startswith("library psutil:") and reason.endswith("→ 99.1") for reason in reasons(toy, "make"))


def test_without_the_cache_the_reason_says_that_the_module_cannot_be_named(toy):
    shutil.rmtree(toy / ".dvc/cache")
    edit(toy / "components/toy/wheels.py", "number**power", "number**power + 0")
    assert any("no longer tells" in reason for reason in reasons(toy, "square"))


def test_until_takes_only_what_the_stage_stands_on(toy):
    assert [plan.stage for plan in dag.plan(toy, ["toy"], "square", force=True)] == ["toy-make", "toy-square"]
    assert [plan.reasons[0] for plan in dag.plan(toy, ["toy"], "square", force=True)] == ["forced", "forced"]


@pytest.mark.parametrize(
    ("systems", "until", "said"),
    [
        (["tyo"], None, "did you mean toy"),
        (["toy"], "jion", "did you mean toy-join"),
        (["toy"], "zzz", "genworks list"),
    ],
)
def test_unknown_names_are_refused_with_the_closest(toy, systems, until, said):
    with pytest.raises(UsageError, match=said):
        dag.plan(toy, systems, until)


def test_bad_dvc_yaml_is_a_usage_error(toy):
    (toy / "dvc.yaml").write_text("stages:\n  a: {cmd: [}\n")
    with pytest.raises(UsageError, match=r"dvc\.yaml"):
        dag.plan(toy, ["toy"])


def test_accepted_change_runs_nothing_and_is_on_record(toy):
    edit(toy / "components/toy/gears.py", "number * factor", "factor * number")
    for stage in ("toy-double", "toy-join"):
        done = genworks(toy, "accept", stage, "--why", "the order of factors does not matter", "--who", "ada")
        assert done.returncode == 0, done.stderr
        assert "components.toy.gears" in done.stdout
    assert to_run(toy) == []
    dvc(toy, "repro")
    assert runs_of(toy) == []
    lines = [json.loads(line) for line in (toy / "code_accepted.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["who"]) for line in lines] == [("toy-double", "ada"), ("toy-join", "ada")]
    clear_runs(toy)
    edit(toy / "components/toy/gears.py", "factor * number", "factor * number + 0")
    assert to_run(toy) == ["toy-double", "toy-join"]  # what was accepted was that change, not the next


def test_accepting_nothing_is_refused(toy):
    done = genworks(toy, "accept", "toy-double", "--why", "no reason")
    assert done.returncode == 2
    assert "Nothing to accept" in done.stderr


def test_plan_and_why_print_json_alone(toy):
    edit(toy / "params.yaml", "factor: 2", "factor: 3")
    plan = json.loads(genworks(toy, "plan", "toy", "--json").stdout)
    assert plan[1] == {"stage": "toy-double", "run": True, "reasons": ["param toy.double.factor: 2 → 3"]}
    why = json.loads(genworks(toy, "why", "double", "--json").stdout)
    assert why == plan[1]


def test_records_of_keys_by_module_say_so(toy):
    """What lay in dvc.lock before keys were by definition: the stage runs once more, and the reason is in words."""
    code = toy / "data/code/toy-double.json"
    fingerprint = json.loads(code.read_text())
    fingerprint["modules"] = {"components.toy.double": "0123456789abcdef", "components.toy.gears": "fedcba9876543210"}
    md5 = hashlib.md5(code.read_bytes()).hexdigest()
    old = json.dumps(fingerprint).encode()
    new = hashlib.md5(old).hexdigest()
    cache = toy / f".dvc/cache/files/md5/{new[:2]}/{new[2:]}"
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_bytes(old)
    edit(toy / "dvc.lock", md5, new)
    assert reasons(toy, "double") == ["its code was recorded by module, keys are by definition now (docs/keys.md)"]
