"""Nothing of a version is loaded or executed unless it is what was registered; registering again makes it whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.engines.base.errors import StageError
from components.engines.tracking import ledger
from components.engines.tracking.lineage import lineage
from components.engines.tracking.loading import check_loading
from components.engines.tracking.models import is_finite
from components.engines.tracking.registry import evidence_folder, model_folder, version
from components.engines.tracking.store import store_of
from components.engines.tracking.stored import DamagedVersion, damage_of, damaged_versions
from tests.engines.tracking.registered_project import REPOSITORY, Project

Attack = Callable[[Path], object]


def stored(project: Project, version_number: int = 1) -> Path:
    models = sorted((project.root / "mlartifacts/toy/models").iterdir(), key=lambda one: one.stat().st_mtime)
    return models[version_number - 1] / "artifacts"


def replace(name: str, old: str, new: str) -> Attack:
    def attack(packed: Path) -> None:
        path = packed / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return attack


def write(name: str, text: str) -> Attack:
    def attack(packed: Path) -> None:
        (packed / name).parent.mkdir(parents=True, exist_ok=True)
        (packed / name).write_text(text)

    return attack


MARK = "import os\nopen(os.environ['MARK'], 'w').write('executed')\n"
SERVE = "code/components/toy/serve.py"
ATTACKS: dict[str, tuple[Attack, str]] = {
    "weights": (
        replace("artifacts/model/weights.json", '"shift": 1', '"shift": 2'),
        "artifacts/model/weights.json was changed",
    ),
    "lost": (
        lambda packed: (packed / "artifacts/model/weights.json").unlink(),
        "artifacts/model/weights.json is missing",
    ),
    "code": (replace(SERVE, "import json\n", MARK + "import json\n"), f"{SERVE} was changed"),
    "planted": (write("code/json.py", MARK), "code/json.py was added"),
    "settings": (write("artifacts/model/adapter_config.json", "{}"), "artifacts/model/adapter_config.json was added"),
    "wrapper": (replace("pyfunc.py", "import math\n", MARK + "import math\n"), "pyfunc.py was changed"),
    "MLmodel": (replace("MLmodel", "mlflow.pyfunc.loaders.code_model", "components.toy.other"), "MLmodel was changed"),
    "requirements": (write("requirements.txt", "evil==1\n"), "requirements.txt was changed"),
}


def predict(project: Project, mark: Path, *words: str, verb: str = "") -> subprocess.CompletedProcess[str]:
    (project.root / ".dvc").mkdir(exist_ok=True)
    (project.root / ".dvc/config").touch()
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *([verb] if verb else ["predict", "toy", *(words or ("hello",))])],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "MARK": str(mark)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def champion(project: Project) -> Project:
    project.train().register()
    ledger.move(project.root, version(project.root, "toy", 1), "promote", evidence={})
    return project


@pytest.mark.parametrize("name", ATTACKS)
def test_a_version_that_was_changed_is_neither_handed_out_nor_judged(champion, tmp_path, name, monkeypatch):
    attack, said = ATTACKS[name]
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    root, found = champion.root, version(champion.root, "toy", 1)
    evidence = evidence_folder(root, found, tmp_path / "evidence")
    attack(stored(champion))
    with pytest.raises(DamagedVersion, match=said):
        model_folder(root, found, tmp_path / "model")
    with pytest.raises(DamagedVersion, match=said):
        lineage(root, "toy")
    assert said in str(check_loading(store_of(root), found.uri, evidence / "golden.json").problem)
    assert [problem for _, problem in damaged_versions(root, "toy") if said in problem]
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["weights", "wrapper"])
def test_predict_runs_nothing_that_was_changed(champion, tmp_path, name):
    attack, said = ATTACKS[name]
    attack(stored(champion))
    done = predict(champion, tmp_path / "mark")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "toy-register" in done.stderr
    assert not (tmp_path / "mark").exists()


def test_doctor_names_damaged_champions_and_runs_left_open(champion, tmp_path):
    ATTACKS["weights"][0](stored(champion))
    (champion.root / ".work/tracking/runs/20260101T000000-dead").mkdir(parents=True)
    done = predict(champion, tmp_path / "mark", verb="doctor")
    assert done.returncode == 1
    assert "artifacts/model/weights.json was changed after registration" in done.stdout
    assert "run 20260101T000000-dead was left by a stage" in " ".join(done.stdout.split())


LOAD = """
import sys, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(pandas.DataFrame([{"text": "hello"}]))[0]["output"])
"""


def load(packed: Path, mark: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MARK": str(mark), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-P", "-c", LOAD, str(packed)]
    return subprocess.run(command, cwd=packed.parent, env=environment, capture_output=True, text=True, check=False)


def test_mlflow_alone_loads_only_what_was_registered(champion, tmp_path):
    """What `mlflow models serve` does: the wrapper checks before it imports, and believes no compiled copy."""
    packed, mark = stored(champion), tmp_path / "mark"
    assert load(packed, mark).stdout == "ifmmp\n"
    assert not list(packed.rglob("code/**/__pycache__"))
    plant = f"""
import importlib.util, os, sys
from pathlib import Path
from importlib._bootstrap_external import _code_to_timestamp_pyc
source = Path({str(packed / SERVE)!r})
code = compile({MARK!r} + source.read_text(), str(source), "exec")
cache = Path(importlib.util.cache_from_source(str(source)))
cache.parent.mkdir()
cache.write_bytes(_code_to_timestamp_pyc(code, int(source.stat().st_mtime), source.stat().st_size))
"""
    subprocess.run([sys.executable, "-c", plant], check=True)
    assert load(packed, mark).stdout == "ifmmp\n"
    assert not mark.exists()
    for name in ("code", "planted", "settings", "weights"):
        attack, said = ATTACKS[name]
        attack(packed)
        done = load(packed, mark)
        assert done.returncode
        assert said in done.stderr
        assert not mark.exists()


@pytest.mark.parametrize("name", ["lost", "planted", "MLmodel", "everything", "evidence", "golden"])
def test_registering_again_makes_the_version_whole(champion, name, tmp_path):
    import shutil

    root = champion.root
    if name == "everything":
        shutil.rmtree(root / "mlartifacts")
    elif name in {"evidence", "golden"}:
        file = "scores.jsonl" if name == "evidence" else "golden.json"
        next((root / "mlartifacts/toy").rglob(file)).write_text('{"outputs": 1}\n')
    else:
        ATTACKS[name][0](stored(champion))
    assert list(damage_of(root, version(root, "toy", 1)))
    receipt = champion.register()
    assert receipt.version == 1
    found = version(root, "toy", "champion")
    assert (found.version, list(damage_of(root, found))) == (1, [])
    assert (model_folder(root, found, tmp_path / "model") / "weights.json").is_file()
    assert [one for one, _ in damaged_versions(root, "toy")] == []


def test_code_and_settings_make_another_digest_and_another_version(project):
    first = project.train().register()
    letters = project.root / "components/toy/letters.py"
    letters.write_text(letters.read_text() + "\nHARMFUL = ['kill']\n")
    second = project.register()
    (project.root / "data/toy/model/serving.json").write_text('{"limit": 3}')
    third = project.register()
    assert [one.version for one in (first, second, third)] == [1, 2, 3]
    assert len({first.digest, second.digest, third.digest}) == 3
    assert version(project.root, "toy", 2).digest == second.digest


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_no_numbers_are_not_registered(project, kind, value):
    import torch
    from safetensors.torch import save_file

    project.train()
    weights = torch.zeros(3000, dtype=getattr(torch, kind))
    path = project.root / "data/toy/model/model.safetensors"
    save_file({"good": weights, "whole": torch.ones(3, dtype=torch.int64)}, path, metadata={"format": "pt"})
    assert project.register().version == 1
    weights[2345] = float(value)
    save_file({"good": torch.ones(5), "bad": weights}, path)
    with pytest.raises(StageError, match="weights are no numbers: bad hold NaN"):
        project.register()


def test_an_answer_of_nan_is_an_error_and_no_empty_line(project, tmp_path):
    """Weights may be sound and the arithmetic on one input fail."""
    serve = project.root / "components/toy/serve.py"
    serve.write_text(
        serve.read_text().replace('len(one["text"])}', 'float("nan") if one["text"] == "hello!" else 1.0}')
    )
    project.train().register()
    ledger.move(project.root, version(project.root, "toy", 1), "promote", evidence={})
    assert predict(project, tmp_path / "mark").stdout == "ifmmp\n"
    (project.root / "lines.txt").write_text("hello!\nhello\n")
    done = predict(project, tmp_path / "mark", "--file", "lines.txt")
    assert (done.returncode, "1 of 2 inputs could not be answered" in done.stderr) == (1, True)
    nan, sound = done.stdout.splitlines()
    assert "no number (NaN)" in nan
    assert sound == "ifmmp"
    assert not is_finite(json.loads('[{"a": [1.0, NaN]}]'))
