"""A kill before and after each write of register ends, after the next run, in the same state as without it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from components.engines.tracking.abandoned import open_runs
from components.engines.tracking.registry import version
from components.engines.tracking.scratch import forgotten
from components.engines.tracking.store import opened, store_of
from components.engines.tracking.stored import damage_of
from tests.engines.tracking.registered_project import Project, make_project, toy_importable

# Every call by which register changes the store, in order; MLflow's own calls below them included.
WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_artifacts",
    "create_registered_model",
    "create_model_version",
    "set_terminated",
)

PLACES = [(where, name) for name in WRITES for where in ("before", "after")]
PLACES += [("half", "log_model_artifacts"), ("half", "log_artifacts")]


def state(project: Project) -> dict[str, Any]:
    """What others can see of the registry, run ids and times aside."""
    with opened(store_of(project.root)) as client:
        versions = client.search_model_versions("name = 'toy'")
        experiment = client.get_experiment_by_name("toy").experiment_id
        found = client.search_runs([experiment])
        models = client.search_logged_models([experiment])
    tags = {key: value for key, value in version(project.root, "toy", 1).tags.items() if key not in _OWN}
    return {
        "versions": [(one.version, one.status) for one in versions],
        "tags": tags,
        "open": [one.info.run_id for one in found if one.info.status == "RUNNING"],
        "models": len(models),
        "folders": len(list((project.root / "mlartifacts/toy/models").glob("*/artifacts/MLmodel"))),
        "damage": list(damage_of(project.root, version(project.root, "toy", 1))),
        "waiting": list(open_runs(store_of(project.root))),
        "scratch": forgotten(project.root),
        "receipt": (project.root / "data/toy/receipt.json").read_bytes(),
    }


_OWN = {"genworks.seal"}  # MLmodel names its run and its time


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("undisturbed") / "project"
    with toy_importable(root):
        project = make_project(root)
        project.train(wrong=3).register()
        return state(project)


def kill(project: Project, where: str, name: str) -> None:
    """Register in a process of its own that is killed at one call. Forked: importing MLflow anew takes seconds."""
    import mlflow

    real = getattr(mlflow.MlflowClient, name)

    def killed(self: Any, *args: Any, **kwargs: Any) -> None:
        if where == "half":  # some of the files are there, the rest is not
            next(path for path in sorted(Path(args[1]).rglob("*")) if path.is_file()).unlink()
        if where != "before":
            real(self, *args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            setattr(mlflow.MlflowClient, name, killed)
            project.register()
        finally:
            os._exit(0)  # it was not killed
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, name


@pytest.mark.parametrize(("where", "name"), PLACES)
def test_register_goes_on_from_any_kill(project, undisturbed, where, name):
    project.train(wrong=3)
    kill(project, where, name)
    receipt = project.register()
    assert receipt.version == 1
    found = state(project)
    commit = "genworks.record", "genworks.commit"  # each project has a commit of its own
    for one in (found, undisturbed):
        for key in commit:
            one["tags"].pop(key, None)
    assert found == undisturbed
