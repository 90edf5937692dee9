"""A project with two registered versions, made once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.engines.serving.served_project import add_version, make_served_project
from tests.engines.tracking.registered_project import Project, toy_importable


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Version 1 shifts letters by one and is champion, version 2 by two."""
    root = tmp_path_factory.mktemp("served") / "project"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MLFLOW_", "GENWORKS_"))]:
            patch.delenv(name)
        with toy_importable(root):  # until it is made: other tests of this process have toys of their own
            made = make_served_project(root)
            add_version(made, shift=2)
        yield made
