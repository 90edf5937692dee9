"""Outputs with and without watchers: the same bytes for every stage of all systems, under the profile `ci`.

    python -m benchmarks watchers          # every system for real, twice; on request

Progress, meters, tracking and profiles are replaced by nothing in one of two copies of the project (docs/keys.md). `ours` counts
the outputs that are the same, `theirs` all of them; `register` is left out, since its receipt names the MLflow run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from flows import settings
from tests.stages_in_process import outputs_of, run_stages
from tests.test_keys import ENTRIES
from tests.translation.project_copy import copy_project


def run(repeats: int = 1) -> list[dict[str, Any]]:
    """Fails where an output differs. `repeats` is not used."""
    stages = [name for name in ENTRIES if not name.endswith("-register")]
    found = []
    for watching in (False, True):
        with tempfile.TemporaryDirectory(prefix="genworks-watchers-") as folder:
            root = copy_project(Path(folder), {})
            settings.apply(root, settings.profile(root, "ci"))
            run_stages(root, stages, watching=watching)
            found.append(outputs_of(root, stages))
    differing = [path for path, digest in found[0].items() if found[1][path] != digest]
    assert not differing, f"not the same without watchers: {differing}"
    same, every = len(found[0]) - len(differing), len(found[0])
    name = f"outputs of {len(stages)} stages that are the same without watchers ÷ all"
    return [{"name": name, "ours": same, "theirs": every, "ratio": same / every, "bar": 1}]
