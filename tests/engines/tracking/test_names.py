"""Names of systems become paths and registered models; what is none is refused before anything is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.engines.base.errors import UsageError
from components.engines.tracking import ledger
from components.engines.tracking.names import check_system
from components.engines.tracking.registry import version
from flows.promote import promote, rollback
from tests.engines.tracking.registered_project import REPOSITORY

BAD = ["../../x", "/x", "", ".", "..", "a/b", "a:b", "a\nb", "x" * 200, "toy@champion", "-toy", "ä"]


@pytest.mark.parametrize("name", BAD)
def test_no_verb_makes_anything_of_a_name_that_is_none(tmp_path, name):
    root = tmp_path / "a/b/c"
    root.mkdir(parents=True)
    (root / "params.yaml").write_text("{}\n")
    for act in (
        lambda: rollback(name, root),
        lambda: promote(name, root=root),
        lambda: version(root, name, 1),
        lambda: ledger.exclusive(root, name).__enter__(),
        lambda: check_system(name),
    ):
        with pytest.raises(UsageError):
            act()
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert made == [root / "params.yaml"]


@pytest.mark.parametrize(
    "verb", [["rollback"], ["history"], ["lineage"], ["predict"], ["report"], ["run"], ["promote"]]
)
def test_the_command_line_refuses_them_first(project, verb):
    (project.root / ".dvc").mkdir()
    before = sorted(project.root.parent.rglob("*"))
    done = _genworks(project.root, *verb, "../../x")
    assert done.returncode == 2
    assert "There is no system '.." in done.stderr
    assert sorted(project.root.parent.rglob("*")) == before


def _genworks(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["toy", "text_to_image", "smart-compose", "clip2"])
def test_names_of_systems_are_taken(name):
    assert check_system(name) == name
