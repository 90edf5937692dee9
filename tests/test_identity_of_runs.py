"""What identifies a run, in every room: settings that only say how work is done never throw unfinished work away."""

import importlib
import logging
import shutil

import pytest
import yaml

from components.engines.base import stage
from components.engines.base.block import block_of, sections_of
from components.engines.base.errors import Stopped
from components.engines.base.fingerprint import module_of, stages_of
from components.engines.base.params import OPERATIONAL
from components.engines.training.faults.stopping import Stopper
from components.engines.training.params import Training
from components.translation.pretrain import pretrain
from tests.flows.toy_project import REPOSITORY
from tests.translation.small import DATA, SMALL, small

# Another value than any room's for each operational field of training.
OTHERWISE = {
    "num_workers": 0,
    "num_threads": 2,
    "layout": {"data": 1},
    "max_failures": 1,
    "collective_timeout_s": 60.0,
    "budget": {"max_hours": 9.0},
    "gradient_checkpointing": "full",
    "checkpoint_every": 2,
    "keep_checkpoints": 3,
    "async_checkpoints": False,
    "loader_workers": 1,
    "resources_timeout_s": 61.0,
    "peak_tflops": 1.0,
    "profile": {"first_step": 4, "steps": 1},
}


def operational(model):
    return {name for name, field in model.model_fields.items() if OPERATIONAL in field.metadata}


def models(name):
    """The sections of a stage, by the argument that gets each."""
    system, short = name.split("-", 1)
    module = importlib.import_module(module_of(stages_of(REPOSITORY)[name]["cmd"]))
    found = sections_of(getattr(module, short), REPOSITORY, system, short, block_of(REPOSITORY, name))
    return {argument: section.params for argument, section in found.items()}


OWN = {name: found["params"] for name in stages_of(REPOSITORY) if "params" in (found := models(name))}


def with_values(params, **changes):
    return type(params).model_validate(params.model_dump() | changes)


def test_the_tests_below_know_every_operational_field_of_training():
    assert OTHERWISE.keys() == operational(Training)


@pytest.mark.parametrize("name", [name for name, params in OWN.items() if hasattr(params, "training")])
def test_operational_settings_of_training_are_no_part_of_any_rooms_identity(name):
    params = OWN[name]
    for field, value in OTHERWISE.items():
        training = params.training.model_dump() | {field: value}
        other = with_values(params, training=training)
        assert other != params, field
        assert other.identity() == params.identity(), field
    training = params.training.model_dump() | {"learning_rate": 0.5}
    assert with_values(params, training=training).identity() != params.identity()


@pytest.mark.parametrize("name", [name for name, params in OWN.items() if hasattr(params, "workers")])
def test_nor_is_how_many_workers_map(name):
    assert with_values(OWN[name], workers=3).identity() == OWN[name].identity()


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A small translation room up to its pretraining, with the project's own dvc.yaml and code."""
    root = tmp_path_factory.mktemp("room")
    layers = {"encoder_layers": 2, "decoder_layers": 2}  # blocks are recomputed where there are several
    architecture = SMALL.model_copy(update=layers)
    small(root, architecture=architecture, ingest={"num_train": 300, "num_test": 40}).run_all(*DATA)
    (root / "components").symlink_to(REPOSITORY / "components")
    shutil.copy(REPOSITORY / "dvc.yaml", root)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["translation"]["architecture"] |= architecture.model_dump(mode="json")
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    set_training(root, BASE)
    return root


BASE = {
    "max_steps": 6,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "checkpoint_every": 1,
    "num_threads": 1,
}


def set_training(root, training):
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["translation"]["pretrain"]["training"] = training
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def run(root):
    stage._run_in_dag(pretrain, root, "translation", "pretrain")


@pytest.fixture(scope="module")
def interrupted(room):
    """The room's pretraining, stopped after step 3 of 6."""
    stop = Stopped("told to")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopper, "due", lambda self, step: stop if step == 3 else None)
        with pytest.raises(Stopped, match="told to"):
            run(room)
    shutil.move(room / ".work", room / "kept")
    return room


def as_it_was(room):
    shutil.rmtree(room / ".work", ignore_errors=True)
    shutil.copytree(room / "kept", room / ".work")


@pytest.mark.parametrize("field", OTHERWISE)
def test_a_rooms_training_goes_on_when_an_operational_setting_changes(interrupted, field, caplog):
    as_it_was(interrupted)
    set_training(interrupted, BASE | {field: OTHERWISE[field]})
    with caplog.at_level(logging.INFO, "genworks"):
        run(interrupted)
    assert "Resuming from step 3" in caplog.text


def test_and_starts_anew_when_what_is_learnt_changes(interrupted, caplog):
    as_it_was(interrupted)
    set_training(interrupted, BASE | {"seed": 5})
    with caplog.at_level(logging.INFO, "genworks"):
        run(interrupted)
    assert "Resuming" not in caplog.text


def test_raise_the_budget_and_run_again(room, caplog):
    """What the message and docs/training.md say."""
    long = BASE | {"max_steps": 400, "checkpoint_every": 400}
    set_training(room, long | {"budget": {"max_hours": 1e-4}})
    with pytest.raises(Stopped, match="raise `budget` and run again"):
        run(room)
    set_training(room, long | {"budget": {"max_hours": 1.0}})
    with caplog.at_level(logging.INFO, "genworks"):
        run(room)
    assert "Resuming from step" in caplog.text
