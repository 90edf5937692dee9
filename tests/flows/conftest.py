"""A toy project per test, copied from one that has run once; one Prefect server for all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import servers
from flows.child import Children
from tests.flows.toy_project import dvc, make_toy_project


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project whose stages have all run."""
    root = make_toy_project(tmp_path_factory.mktemp("toy") / "project")
    dvc(root, "repro")
    return root


@pytest.fixture
def toy(_made_once: Path, tmp_path: Path) -> Path:
    """A toy project, everything up to date, nothing logged as run. The test owns it."""
    root = tmp_path / "project"
    shutil.copytree(_made_once, root, symlinks=True)
    (root / ".work/runs.log").unlink()
    return root


@pytest.fixture
def fresh_toy(tmp_path: Path) -> Path:
    """A toy project in which nothing has run."""
    return make_toy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server on SQLite, started once: most tests are not about starting servers."""
    root = tmp_path_factory.mktemp("prefect")
    children = Children()
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}/api"
    log = root / "server.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(root))
        with log.open("w") as file:
            process = servers.start_prefect(root, children, port, file, login=None)
            servers.wait_until(f"{url}/health", process, "Prefect", log)
    yield url
    children.stop_all()


@pytest.fixture(autouse=True)
def _own_prefect_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's Prefect or MLflow settings."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
