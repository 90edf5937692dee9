"""Keys by definition on every stage: what stages execute is in their keys, watchers alter no byte, and what a random edit reruns.

    python -m benchmarks keys          # some twenty minutes; on request

Every stage but `register` runs small, twice in a copy of the project: without watchers, traced, and with them. `ours` is the mean
share of stages that one of 300 random mutations of engines plans, `theirs` the share if keys held whole modules.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests import test_keys as keys
from tests.stages_in_process import outputs_of, run_stages
from tests.text_to_image.test_t2i_end_to_end import SMALL
from tests.translation.project_copy import SMALL as TRANSLATION
from tests.translation.project_copy import copy_project

MUTATIONS = 300


def run(repeats: int = 1) -> list[dict[str, Any]]:
    """Fails where a definition that a stage executes is not in its key, or an output differs. `repeats` is not used."""
    stages = [name for name in keys.ENTRIES if not name.endswith("-register")]  # a receipt names its MLflow run
    with tempfile.TemporaryDirectory(prefix="genworks-keys-") as folder:
        root = copy_project(Path(folder), {**SMALL, "translation": TRANSLATION})
        executed = run_stages(root, stages, watching=False)
        without = outputs_of(root, stages)
        known = keys.keys(root)
        missed = {stage: found - keys.in_key(known[stage]) - keys.STAND_INS for stage, found in executed.items()}
        assert not any(missed.values()), missed
        ours, theirs = keys.mutations(root, executed, MUTATIONS)
        run_stages(root, stages, watching=True)
        differing = [path for path, digest in outputs_of(root, stages).items() if without[path] != digest]
        assert not differing, f"not the same without watchers: {differing}"
    name = f"stages planned by one of {MUTATIONS} mutations ÷ under module keys"
    return [{"name": name, "ours": ours, "theirs": theirs, "ratio": ours / theirs, "stages": len(stages)}]
