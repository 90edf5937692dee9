"""What every register stage does: put together what is served, and make it a version with the evidence for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext


def register_stage(
    context: StageContext,
    pipeline: type,
    folders: Mapping[str, Path],
    settings: Mapping[str, Any],
    evidence: Sequence[Path],
    receipt: Path,
    *,
    complete: Callable[[Path], None] | None = None,
) -> None:
    """Register `pipeline` (a class of the room's serve.py) over a folder of its own; `receipt` (JSON) names the version.

    `folders` go into it under their names ("" is the folder itself), `settings` as serving.json; `complete` may add what is
    made of them. `evidence`: metrics, scores and samples, kept with the version. The same model on the same evidence is the
    same version.
    """
    from components.engines.tracking.registry import register

    served = context.work / "served"
    for name, folder in folders.items():
        shutil.copytree(folder, served / name, dirs_exist_ok=True)
    write_json(served / "serving.json", dict(settings))  # engines/serving/pipeline.py reads it
    if complete is not None:
        complete(served)
    register(context, served, pipeline, {path.name: path for path in evidence}).write(receipt)
