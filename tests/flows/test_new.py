"""`genworks new`: a room that is clean, tested, and reaches a champion as it was written."""

import json
import sys
from pathlib import Path

import pytest

from components.engines.base.errors import UsageError
from flows import rooms
from tests.translation.project_copy import REPOSITORY, attempt, copy_project, genworks, run

DEMOS = {f"demo_{kind}": kind for kind in rooms.KINDS}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a new system of each kind: one by the command, the others by what it calls."""
    root = copy_project(tmp_path_factory.mktemp("clone"), {})
    (first, kind), *others = DEMOS.items()
    done = genworks(root, "new", first, "--kind", kind, "--json")
    assert done.returncode == 0, done.stderr
    assert all((root / name).is_file() for name in json.loads(done.stdout)["written"])
    for system, kind in others:
        rooms.prepare(root, system, kind).write(root)
    return root


@pytest.mark.parametrize(
    "name", ["Demo", "a-b", "2nd", "class", "", "x" * 41, "../up", "engines", "clip", "flows", "translation"]
)
def test_a_name_that_cannot_be_one_or_is_taken_is_refused(name):
    with pytest.raises(UsageError, match=r"cannot be a system's name|exists already"):
        rooms.prepare(REPOSITORY, name, "text")


@pytest.mark.parametrize("kind", rooms.KINDS)
@pytest.mark.parametrize("name", ["a", "zebra_2", "x" * 40])
def test_what_is_written_is_clean_whatever_the_name(tmp_path, kind, name):
    (tmp_path / "pyproject.toml").write_text((REPOSITORY / "pyproject.toml").read_text())
    for known in ("components/engines", "tests/declared_figures.py"):  # ruff tells by the files which modules are ours
        (tmp_path / known).parent.mkdir()
        (tmp_path / known).symlink_to(REPOSITORY / known)
    for path, text in rooms.prepare(REPOSITORY, name, kind).files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for words in (["check"], ["format", "--check"]):
        done = attempt(tmp_path, sys.executable, "-m", "ruff", *words, f"components/{name}", f"tests/{name}")
        assert done.returncode == 0, done.stdout


def test_a_file_whose_layout_has_no_place_for_a_block_is_refused():
    with pytest.raises(UsageError, match="has no block of entries under stages"):
        rooms.appended("stages: {a: {cmd: b}}\n", ["stages"], "  c:\n    cmd: d\n", Path("dvc.yaml"))
    text = "stages:\n  a:\n    cmd: b # said\nvars: [1]"
    found = rooms.appended(text, ["stages"], "  c:\n    cmd: d\n", Path("dvc.yaml"))
    assert found == "stages:\n  a:\n    cmd: b # said\n  c:\n    cmd: d\nvars: [1]"


def test_a_new_system_adds_to_three_files_and_changes_no_line(project):
    changed = [line.split("\t") for line in run(project, "git", "diff", "--numstat").splitlines()]
    assert {name: deleted for _, deleted, name in changed} == dict.fromkeys(rooms.CONFIGURATION, "0")
    others = run(project, "git", "ls-files", "--others", "--exclude-standard").splitlines()
    assert {"/".join(name.split("/")[:2]) for name in others} == {
        f"{folder}/{system}" for system in DEMOS for folder in ("components", "tests")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_new_systems_reach_champions_as_they_were_written(project):
    done = genworks(project, "run", *DEMOS, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    promotions = json.loads(done.stdout)["promotions"]
    assert {system: one["decision"] for system, one in promotions.items()} == dict.fromkeys(DEMOS, "promoted")
    assert {system: one["remarks"] for system, one in promotions.items()} == {system: [] for system in DEMOS}


@pytest.mark.slow
def test_the_tests_that_were_written_and_those_of_the_dag_pass(project):
    tested = attempt(
        project, sys.executable, "-m", "pytest", "-q", "tests/test_dag.py", "tests/test_house.py", "tests/demo_text"
    )
    assert tested.returncode == 0, tested.stdout[-3000:]
