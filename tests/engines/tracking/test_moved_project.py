"""A project that is moved or copied, or lies in a folder with an odd name, finds its versions and registers at its own place."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.engines.base.errors import UsageError
from components.engines.tracking import ledger
from components.engines.tracking.lineage import lineage
from components.engines.tracking.registry import model_folder, version
from components.engines.tracking.store import opened, store_of
from tests.engines.tracking.registered_project import REPOSITORY, Project, make_project, toy_importable


def registered(root: Path) -> None:
    with toy_importable(root):
        project = make_project(root)
        project.train().register()
    ledger.move(root, version(root, "toy", 1), "promote", evidence={})
    (root / ".dvc").mkdir()


def predicted(root: Path) -> str:
    command = [sys.executable, "-m", "flows.cli", "predict", "toy", "hello"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def places(root: Path) -> set[str]:
    with opened(store_of(root)) as client:
        experiments = client.search_experiments(filter_string="name LIKE 'toy%'")
        runs = client.search_runs([one.experiment_id for one in experiments])
        found = {one.artifact_location for one in experiments} | {one.info.artifact_uri for one in runs}
        return found | {
            client.get_model_version_download_uri("toy", one.version)
            for one in client.search_model_versions("name = 'toy'")
        }


@pytest.mark.parametrize("how", ["moved", "copied", "moved to an odd place"])
def test_a_moved_project_keeps_its_versions_and_registers_at_its_own_place(tmp_path, how, caplog):
    old, new = tmp_path / "old", tmp_path / ("a %'{b}#c ü" if "odd" in how else "new") / "project"
    registered(old)
    new.parent.mkdir()
    if how == "copied":
        shutil.copytree(old, new, symlinks=True)
    else:
        old.rename(new)
    assert predicted(new) == "ifmmp\n"
    assert lineage(new, "toy")["version"] == 1
    folder = model_folder(new, version(new, "toy", 1), tmp_path / "fetched")
    assert (folder / "weights.json").is_file()
    with toy_importable(new):
        project = Project(new)
        project.set_examples(100)
        assert project.train(wrong=3).register().version == 2
    here = store_of(new).artifacts
    assert here is not None
    assert {place.startswith(f"{here}/") for place in places(new)} == {True}
    assert old.exists() == (how == "copied")
    if how == "copied":
        assert {place.startswith(f"{old}/mlartifacts/") for place in places(old)} == {True}
    with opened(store_of(new)) as client:
        assert client.get_experiment_by_name("toy").tags["genworks.moved_from"].rstrip("/") == str(old)


def test_artifacts_kept_elsewhere_stay_where_they_are(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", str(tmp_path / "disk/mlartifacts"))
    registered(tmp_path / "old")
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT")
    (tmp_path / "old").rename(tmp_path / "new")
    caplog.set_level(logging.WARNING)
    assert predicted(tmp_path / "new") == "ifmmp\n"
    assert {place.startswith(f"{tmp_path}/disk/mlartifacts/") for place in places(tmp_path / "new")} == {True}


@pytest.mark.parametrize("name", ["it's {b}", "a#b 50%", "ü;x&y"])
def test_a_project_may_lie_in_a_folder_with_an_odd_name(tmp_path, name):
    root = tmp_path / name / "project"
    registered(root)
    assert lineage(root, "toy")["version"] == 1
    assert list((root / "mlartifacts/toy").rglob("weights.json"))
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a?b", "%41"])
def test_what_mlflow_would_misread_is_refused_before_anything_is_made(tmp_path, name):
    root = tmp_path / name / "project"
    root.mkdir(parents=True)
    with pytest.raises(UsageError, match="MLflow would take another path"):
        store_of(root)
    assert list(tmp_path.rglob("*")) == [root.parent, root]


READ_ONLY = """
mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && ! touch x 2>/dev/null || exit 77
for verb in "predict toy hello" "lineage toy" "history toy"; do "$PYTHON" -m flows.cli $verb || exit 1; done
"""


def test_a_read_only_project_can_be_looked_at_and_asked(tmp_path):
    root = tmp_path / "project"
    registered(root)
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHON": sys.executable}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", READ_ONLY], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no folder can be mounted read-only here")
    assert done.returncode == 0, done.stderr
    assert "ifmmp" in done.stdout
    assert "champion now: version 1" in done.stdout
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
