"""Models from code: whole without the repository, free of pickles, the same in a clean process."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.engines.base.errors import UsageError
from components.engines.tracking import loadcheck
from components.engines.tracking.loading import check_loading
from components.engines.tracking.models import copy_closure, load_pipeline, refuse_pickles, requirements
from components.engines.tracking.registry import evidence_folder, version
from components.engines.tracking.store import opened, store_of
from tests.engines.tracking.registered_project import REPOSITORY, Project


def unpacked(project: Project, number: int, folder: Path) -> Path:
    """The MLflow model of a version, copied to a place that knows no repository."""
    with opened(store_of(project.root)):
        import mlflow

        folder.mkdir(exist_ok=True)
        return Path(mlflow.artifacts.download_artifacts(f"models:/toy/{number}", dst_path=str(folder)))


STRANGER = """
import os, sys

pickled = []
sys.addaudithook(lambda event, args: pickled.append(args) if event == "pickle.find_class" else None)
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
import importlib.util
assert importlib.util.find_spec("components") is None, "the repository must not be importable here"

import json, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = model.predict(pandas.DataFrame([{"text": "hello"}, {"text": "zebra"}]))
option = model.predict(pandas.DataFrame([{"text": "hello"}]), params={"twice": True})
bare = model.unwrap_python_model().predict(None, "hello")
listed = model.unwrap_python_model().predict(None, ["hello", {"text": "zebra"}])
code = sorted(name for name in sys.modules if name.split(".")[0] == "components")
print(json.dumps({"frame": frame, "option": option, "bare": bare, "listed": listed, "pickled": pickled, "code": code}))
"""


@pytest.fixture
def told(project: Project, tmp_path: Path) -> dict[str, Any]:
    """What a clean interpreter elsewhere gets from the model, without the repository and without `data/`."""
    letters = project.root / "components/toy/letters.py"
    letters.with_suffix(".yaml").write_text("data of the module: it goes where the module goes\n")
    letters.write_text(letters.read_text() + "\nimport pkgutil\nassert pkgutil.get_data(__package__, 'letters.yaml')\n")
    project.train().register()
    model = unpacked(project, 1, tmp_path / "elsewhere")
    (project.root / "data").rename(project.root / "gone")
    done = subprocess.run(
        [sys.executable, "-P", "-c", STRANGER, str(model)],
        cwd=tmp_path / "elsewhere",
        env={"PATH": "", "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_model_predicts_where_nothing_of_the_repository_is(told):
    assert told["frame"] == [{"output": "ifmmp", "length": 5}, {"output": "afcsb", "length": 5}]
    assert told["option"] == [{"output": "jgnnq", "length": 5}]
    assert told["bare"] == told["frame"][:1]
    assert told["listed"] == told["frame"]
    assert told["pickled"] == []
    assert told["code"] == [
        "components",
        "components.engines",
        "components.engines.base",
        "components.engines.base.errors",
        "components.toy",
        "components.toy.letters",
        "components.toy.serve",
    ]


def test_the_model_holds_no_pickle_and_no_more_code_than_it_imports(project, tmp_path):
    project.train().register()
    model = unpacked(project, 1, tmp_path / "elsewhere")
    files = sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".joblib"))]
    assert [name for name in files if name.startswith("code/") and "engines" in name] == [
        "code/components/engines/__init__.py",
        "code/components/engines/base/__init__.py",
        "code/components/engines/base/errors.py",
    ]
    required = (model / "requirements.txt").read_text().split()
    assert any(line.startswith("mlflow==") for line in required)


def test_the_signature_comes_from_the_rooms_example(project, tmp_path):
    project.train().register()
    with opened(store_of(project.root)):
        import mlflow

        signature = mlflow.models.get_model_info("models:/toy/1").signature
    assert [(column.name, str(column.type)) for column in signature.inputs] == [("text", "DataType.string")]
    assert [column.name for column in signature.outputs] == ["output", "length"]
    assert [(option.name, option.default) for option in signature.params] == [("twice", False)]


def loading(project: Project, tmp_path: Path, **budget: float) -> Any:
    found = version(project.root, "toy", 1)
    evidence = evidence_folder(project.root, found, tmp_path / "evidence")
    return check_loading(store_of(project.root), found.uri, evidence / "golden.json", **budget)


def test_the_loading_check_passes_a_sound_model_and_measures_it(project, tmp_path):
    project.train(seconds=0.05).register()
    result = loading(project, tmp_path, max_latency_ms=5000, max_memory_mb=4000)
    assert result.problem is None
    assert 50 <= result.latency_ms < 1000
    assert 50 < result.memory_mb < 2000


def served_otherwise(project: Project, old: str, new: str) -> None:
    """Register a pipeline that behaves otherwise in the clean process, where no pytest is."""
    serve = project.root / "components/toy/serve.py"
    assert old in serve.read_text()
    serve.write_text(serve.read_text().replace(old, new, 1))
    project.train().register()


def test_the_loading_check_sees_other_answers(project, tmp_path):
    served_otherwise(project, "shift = self", "import sys\n        shift = ('pytest' not in sys.modules) + self")
    assert "answers otherwise than when it was registered: output[0].output is" in loading(project, tmp_path).problem


def test_the_loading_check_sees_a_model_that_does_not_load(project, tmp_path):
    served_otherwise(project, 'if weights["shift"] is None', "import sys\n        if 'pytest' not in sys.modules")
    assert "does not load or predict in a clean process" in loading(project, tmp_path).problem
    assert "no weights" in loading(project, tmp_path).problem


def test_the_loading_check_sees_code_that_comes_from_elsewhere(project, tmp_path):
    """On a machine where genworks is installed, a forgotten module would be found there: that must not pass."""
    inject = f"import importlib, sys\nsys.path.append({str(REPOSITORY)!r})\nimportlib.import_module('flows')\n"
    served_otherwise(project, "import json\n", inject + "import json\n")
    assert "needs code that is not in it: flows" in loading(project, tmp_path).problem


def test_the_loading_check_sees_a_pickle_being_loaded(project, tmp_path):
    inject = "import pickle, collections\npickle.loads(pickle.dumps(collections.OrderedDict()))\n"
    served_otherwise(project, "import json\n", inject + "import json\n")
    assert "unpickles objects: collections.OrderedDict" in loading(project, tmp_path).problem


@pytest.mark.parametrize("name", ["weights.pkl", "weights.pt", "anything"])
def test_pickles_are_refused_by_name_and_by_content(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UsageError, match=f"holds pickles: {name}"):
        refuse_pickles(tmp_path)


def test_torchs_zip_of_a_pickle_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    with pytest.raises(UsageError, match=r"model\.bin"):
        refuse_pickles(tmp_path)


def test_plain_files_are_no_pickles(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text.json").write_text("{}")
    (tmp_path / "binary.model").write_bytes(b"\x80\x7f.")
    with zipfile.ZipFile(tmp_path / "words.zip", "w") as archive:
        archive.writestr("words.txt", b"x")
    refuse_pickles(tmp_path)


def test_a_model_must_be_a_folder(tmp_path):
    with pytest.raises(UsageError, match="A model is a folder"):
        refuse_pickles(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("components.nothing.serve:X", "There is no pipeline"),
        ("components.toy.serve:Nothing", "There is no pipeline"),
        ("components.toy.letters:shifted", "has no load, predict, example"),
    ],
)
def test_a_pipeline_that_cannot_serve_is_named(project, pipeline, message):
    with pytest.raises(UsageError, match=message):
        load_pipeline(pipeline)


def test_requirements_are_what_the_pipeline_imports(project):
    serve = project.root / "components/toy/serve.py"
    serve.write_text(serve.read_text() + "\n\ndef lazily():\n    import diffusers\n    import yaml\n    import numpy\n")
    pinned = requirements("components.toy.serve", project.root)
    names = [line.split("==")[0] for line in pinned]
    assert names == ["diffusers", "mlflow", "numpy", "pandas", "PyYAML", "torchao"]  # and what diffusers loads at need
    assert all("+" not in line for line in pinned)


def test_the_closure_is_copied_with_its_packages(project, tmp_path):
    copy = tmp_path / "copy"
    copy_closure("components.toy.letters", project.root, copy)
    files = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*.py"))
    assert files == ["components/__init__.py", "components/toy/__init__.py", "components/toy/letters.py"]


def test_golden_values_survive_json():
    import numpy

    value = {"a": [1, 2.5, None, True, "ü"], "b": b"\x00\xff", "c": numpy.arange(4, dtype="float32").reshape(2, 2)}
    again = loadcheck.decode(json.loads(json.dumps(loadcheck.encode(value))))
    assert (again["a"], again["b"]) == (value["a"], value["b"])
    assert again["c"].dtype == numpy.float32
    assert (again["c"] == value["c"]).all()
    assert loadcheck.encode(numpy.float32(0.5)) == 0.5
    with pytest.raises(TypeError, match="object is neither"):
        loadcheck.encode(object())


@pytest.mark.parametrize(
    ("expected", "actual", "differs"),
    [
        ({"a": 1.0}, {"a": 1.0005}, False),
        ({"a": 1.0}, {"a": 1.1}, True),
        ({"a": "x"}, {"a": "y"}, True),
        ({"a": 1}, {"b": 1}, True),
        ([1, 2], [1, 2, 3], True),
        (True, 1, True),
        (float("nan"), float("nan"), False),
        (None, None, False),
        ([{"a": [0.0, "x"]}], [{"a": [1e-9, "x"]}], False),
    ],
)
def test_differences_are_found_and_float_noise_is_not(expected, actual, differs):
    assert (loadcheck.difference(expected, actual) is not None) is differs


@pytest.mark.parametrize(("levels", "differs"), [(0, False), (1, False), (3, True)])
def test_pictures_may_differ_by_rounding_only(levels, differs):
    def picture(level):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (level, level, level)).save(buffer, "PNG")
        return loadcheck.encode([{"image": buffer.getvalue()}])

    assert (loadcheck.difference(picture(100), picture(100 + levels)) is not None) is differs
    assert loadcheck.difference(picture(100), loadcheck.encode([{"image": b"no picture"}])) is not None
