"""`genworks estimate`: a few real steps of each training stage, multiplied out; nothing of it stays."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml

from components.engines.base.stage import StageContext
from components.engines.tracking.runs import stage_run
from flows.commands.estimate import _time
from flows.estimate import Forecast, Part, _forecast, total
from tests.flows.toy_project import REPOSITORY, edit, genworks, make_toy_project

STAGE = '''\
"""Learn to halve a number."""

from functools import partial
from pathlib import Path

from components.engines.base.params import Params
from components.engines.base.stage import StageContext, main
from components.engines.training.params import Training


class {kind}(Params):
    enabled: bool = True
    training: Training


def {name}({inputs}: Path, {output}: Path, params: {kind}, context: StageContext) -> None:
    """Write the weights."""
    from components.engines.tracking.runs import stage_run
    from components.engines.training.launch import launch
    from components.toy.halving import Halving

    if params.enabled:
        with stage_run(context, {{}}) as run:
            launch(Halving, params.training, work=context.work, observer_factory=run.observer)
    {output}.write_text("weights")


if __name__ == "__main__":
    main({name})
'''

TASK = '''\
"""A network of one number."""

import time

import torch
from torch import nn

from components.engines.training.task import Task, Turn


class Halving(Task):
    def __init__(self):
        self.model = nn.Linear(1, 1)
        self.modules, self.num_samples = {"model": self.model}, 64
        self.turns = [Turn("model", self.loss, list(self.model.parameters()), lambda batch: len(batch["x"]))]

    def batch(self, indices, epoch):
        return {"x": torch.from_numpy(indices).float()[:, None] / 64}

    def loss(self, batch):
        time.sleep(0.01)
        return (self.model(batch["x"]) - batch["x"] / 2).square().sum(), {}

    def score(self):
        time.sleep(0.2)
        return {"loss": 1.0}
'''

TRAINING = {"max_steps": 2000, "batch_size": 8, "learning_rate": 1e-3, "score_every": 500, "checkpoint_every": 400}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A toy project whose stages `train` and, on its output, `tune` really train. Nothing has run."""
    root = make_toy_project(tmp_path_factory.mktemp("estimate") / "project")
    for engine in ("training", "shards", "nn"):
        folder = f"components/engines/{engine}"
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "components/toy/halving.py").write_text(TASK)
    params = yaml.safe_load((root / "params.yaml").read_text())
    blocks = yaml.safe_load((root / "dvc.yaml").read_text())
    for name, inputs, output in (("train", "numbers", "trained"), ("tune", "trained", "tuned")):
        text = STAGE.format(name=name, kind=name.title(), inputs=inputs, output=output)
        (root / f"components/toy/{name}.py").write_text(text)
        params["toy"][name] = {"training": TRAINING | {"num_workers": 0}}
        blocks["stages"][f"toy-{name}"] = {
            "cmd": f"python -m components.toy.{name}",
            "deps": [f"data/toy/{inputs}.json"],
            "params": [f"toy.{name}"],
            "outs": [f"data/toy/{output}.json"],
        }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "dvc.yaml").write_text(yaml.safe_dump(blocks))
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", "commit", "-qm", "training"], cwd=root, check=True)
    return root


@pytest.fixture
def project(made_once, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(made_once, root, symlinks=True)
    return root


def give_inputs(root):
    for name in ("numbers", "trained"):
        (root / f"data/toy/{name}.json").parent.mkdir(parents=True, exist_ok=True)
        (root / f"data/toy/{name}.json").write_text("[]")


def left_behind(root):
    status = subprocess.run(["git", "status", "--short"], cwd=root, capture_output=True, text=True, check=True).stdout
    folders = [path.name for path in (root / ".work").iterdir()] if (root / ".work").exists() else []
    return (
        status,
        [name for name in folders if name not in {"tracking", "digests", "code"}],
        (root / "mlflow.db").exists(),
    )


def test_without_inputs_it_says_which_stages_must_run_first(project):
    done = genworks(project, "estimate", "toy")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "run toy-make first: genworks run toy --until toy-make" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_forecast_is_the_sum_of_its_parts_and_leaves_nothing_behind(project):
    give_inputs(project)
    before = left_behind(project)
    done = genworks(project, "estimate", "toy", "--price-per-hour", "3.60", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    stages = {stage["stage"]: stage for stage in told["stages"]}
    assert list(stages) == ["toy-make", "toy-double", "toy-square", "toy-join", "toy-train", "toy-tune"]
    for name in ("toy-train", "toy-tune"):
        stage = stages[name]
        counts = {part["name"]: part["count"] for part in stage["parts"]}
        each = {part["name"]: part["seconds_each"] for part in stage["parts"]}
        assert counts == {
            "start": 1,
            "steps": 2000,
            "scores": 4,
            "checkpoints": 8,
        }  # 5, and 3 of scores that may be the best
        assert each["steps"] >= 0.01
        assert each["scores"] >= 0.2
        assert stage["seconds"] == pytest.approx(sum(counts[part] * each[part] for part in counts))
        assert stage["seconds"] >= 2000 * 0.01 + 4 * 0.2
        assert stage["cost"] == pytest.approx(stage["seconds"] * 0.001)
        assert stage["peak_memory_mb"] > 50
        assert stage["rates"]["samples_per_second"] < 8 / 0.01
    assert stages["toy-make"]["source"] == "unknown"
    assert stages["toy-make"]["seconds"] is stages["toy-make"]["cost"] is None
    whole = told["total"]
    assert whole["seconds"] == pytest.approx(stages["toy-train"]["seconds"] + stages["toy-tune"]["seconds"])
    assert whole["cost"] == pytest.approx(whole["seconds"] * 0.001)
    assert whole["without"] == ["toy-make", "toy-double", "toy-square", "toy-join"]
    assert left_behind(project) == before


def test_a_stage_on_one_that_has_not_trained_yet_is_left_out_and_named(project):
    give_inputs(project)
    (project / "data/toy/trained.json").unlink()
    done = genworks(project, "estimate", "toy")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "2000 steps ×" in lines["toy-train"]
    assert "unknown" in lines["toy-tune"]
    assert "run toy-train first" in lines["toy-tune"]
    assert "without" in lines["total"]
    assert "toy-tune" in lines["total"]


def test_a_stage_whose_training_is_switched_off_takes_what_it_took(project):
    give_inputs(project)
    for name in ("train", "tune"):
        edit(project / f"components/toy/{name}.py", "enabled: bool = True", "enabled: bool = False")
    stages = json.loads(genworks(project, "estimate", "toy", "--json").stdout)["stages"]
    assert [[part["name"] for part in stage["parts"]] for stage in stages[-2:]] == [["start"], ["start"]]
    assert not (project / "data/toy/tuned.json").exists()


def test_a_stage_that_fails_in_its_first_steps_is_told_in_its_own_words(project):
    give_inputs(project)
    edit(project / "params.yaml", "batch_size: 8", "batch_size: zero")
    done = genworks(project, "estimate", "toy")
    assert done.returncode == 2
    assert "toy-train" in done.stderr
    assert "batch_size" in done.stderr
    assert not left_behind(project)[1]


def test_stages_that_do_not_train_take_what_their_last_run_took(project):
    context = StageContext("toy", "join", "0123abc", project / ".work", project, {}, {})
    with stage_run(context, {}):
        pass
    give_inputs(project)
    for name in ("train", "tune"):  # quick
        edit(project / f"components/toy/{name}.py", "enabled: bool = True", "enabled: bool = False")
    stages = json.loads(genworks(project, "estimate", "toy", "--json").stdout)["stages"]
    join = next(stage for stage in stages if stage["stage"] == "toy-join")
    assert join["source"] == "last run"
    assert 0 <= join["seconds"] < 60


@pytest.mark.parametrize("words", [["nosuch"], ["toy", "--price-per-hour", "-1"], ["toy", "--price-per-hour", "cheap"]])
def test_bad_usage_of_estimate(project, words):
    done = genworks(project, "estimate", *words)
    assert done.returncode == 2
    assert done.stdout == ""


def test_the_forecast_scales_with_the_number_of_steps():
    told = {"seconds_step": 0.5, "seconds_score": 4.0, "seconds_checkpoint": 2.0, "seconds_probe": 12.0} | {
        "steps": 100, "scores": 2, "checkpoints": 3, "peak_memory_mb": 900.0, "mfu": 0.4,
    }  # fmt: skip
    one = _forecast("toy-train", told, 20.0)
    assert one.seconds == 8 + 50 + 8 + 6
    assert one.rates == {"mfu": 0.4}
    ten = _forecast("toy-train", told | {"steps": 1000, "scores": 20, "checkpoints": 30}, 20.0)
    assert ten.seconds - 8 == 10 * (one.seconds - 8)
    assert total([one, ten, Forecast("toy-make", "unknown")], 36.0) == {
        "seconds": one.seconds + ten.seconds,
        "cost": pytest.approx((one.seconds + ten.seconds) * 0.01),
        "peak_memory_mb": 900.0,
        "without": ["toy-make"],
    }
    assert total([Forecast("toy-make", "last run", 5.0, [Part("start", 1, 5.0)])], None)["cost"] is None


def test_times_are_shown_in_units_one_can_read():
    assert [_time(x) for x in (None, 3.4, 119, 600, 9000)] == ["unknown", "3 s", "119 s", "10 min", "2.5 h"]
