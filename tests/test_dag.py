"""dvc.yaml, params.yaml, the rooms and the schedules tell one story; a new system is discovered here."""

import importlib
import inspect
import typing
from pathlib import Path

import pytest
import yaml

from components.engines.base.block import block_of
from components.engines.base.params import Params, parse_section, section_of

ROOT = Path(__file__).parents[1]
DAG = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGES = [name for name in DAG if name != "code"]
SYSTEMS = sorted({name.split("-")[0] for name in STAGES})


def function_of(stage):
    system, name = stage.split("-", 1)
    return getattr(importlib.import_module(f"components.{system}.{name}"), name)


def test_the_code_stage_writes_the_folder_of_fingerprints_and_keeps_it_while_it_runs():
    """One output: DVC looks up each output in git's index, which for a file a stage took seconds."""
    assert DAG["code"]["outs"] == [{"data/code": {"persist": True}}]
    assert DAG["code"]["always_changed"] is True


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_function_named_like_its_module_which_takes_all_its_paths(stage):
    system, name = stage.split("-", 1)
    assert DAG[stage]["cmd"] == f"python -m components.{system}.{name}"
    assert f"data/code/{stage}.json" in DAG[stage]["deps"]
    function = function_of(stage)
    assert inspect.getdoc(function)
    block = block_of(ROOT, stage)
    kinds = typing.get_type_hints(function)
    paths = {argument for argument, kind in kinds.items() if kind is Path}
    assert paths == set(block.inputs) | set(block.outputs)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_just_the_params_it_reads_and_their_values_are_valid(stage):
    system, name = stage.split("-", 1)
    read = set()
    for argument, kind in typing.get_type_hints(function_of(stage)).items():
        if isinstance(kind, type) and issubclass(kind, Params):
            key = f"{system}.{name if argument == 'params' else argument}"
            read.add(key)
            parse_section(kind, section_of(PARAMS, key, ROOT / "params.yaml"), key, ROOT / "params.yaml")
    assert read == set(DAG[stage].get("params", []))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_has_a_room_a_gate_a_schedule_and_measured_claims(system):
    room = importlib.import_module(f"components.{system}")
    for word in ("Task:", "Papers:", "Data:", "Metrics:", "Stages:"):
        assert word in room.__doc__
    assert "promote" in PARAMS[system]
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    mine = [deployment for deployment in deployments if deployment["parameters"].get("systems") == [system]]
    assert len(mine) == 1
    assert mine[0]["schedules"]
    assert "bars" in yaml.safe_load((ROOT / f"components/{system}/comparisons.yaml").read_text())


@pytest.mark.parametrize("stage", STAGES)
def test_a_section_inside_a_section_has_the_defaults_of_its_class(stage):
    """Or a key that `--set` adds to it would take others back to values that nobody chose."""
    kinds = [kind for kind in typing.get_type_hints(function_of(stage)).values() if isinstance(kind, type)]
    for kind in kinds:
        for name, field in getattr(kind, "model_fields", {}).items():
            default = field.get_default(call_default_factory=True)
            assert not (isinstance(default, Params) and default.model_fields_set), f"{kind.__name__}.{name}"


def test_params_hold_no_section_that_nothing_reads():
    used = {key for stage in STAGES for key in DAG[stage].get("params", [])}
    present = {f"{system}.{section}" for system, sections in PARAMS.items() for section in sections}
    assert present - used == {f"{system}.promote" for system in SYSTEMS}


def test_no_stage_hides_a_hyperparameter_in_its_command():
    assert all("--" not in block["cmd"] for block in DAG.values())


def test_the_help_of_a_stage_answers_at_once():
    """Heavy libraries are imported inside functions: importing a stage's module must not load them."""
    import subprocess
    import sys

    heavy = ("torch", "transformers", "ray", "mlflow", "great_expectations", "evaluate", "datasets", "pandas")
    modules = [f"components.{stage.replace('-', '.', 1)}" for stage in STAGES]
    script = f"import sys, {', '.join(modules)}; print([m for m in {heavy!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
