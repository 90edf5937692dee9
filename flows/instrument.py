"""The instrument that scores were made with, and scoring a champion again with the candidate's.

Scores can be compared if examples, evaluation code and its libraries, params (decoding included) and scoring networks were
the same. Which inputs of an evaluate stage are none of these, because they are parts of the model or hold the examples, is
declared in dvc.yaml, once per room, beside the stage:

    meta:
      model_parts: {text_to_image_model: ., optimised: optimised}  # input -> its place in the folder that is served
      examples: [cleaned]
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import read_json
from components.engines.base.stage import block_of
from components.engines.tracking.provenance import provenance
from components.engines.tracking.registry import RECORD, Version, model_folder


@dataclass(frozen=True)
class Evaluation:
    """What dvc.yaml says of an evaluate stage's inputs: `parts` input -> (path, place in the served folder)."""

    parts: dict[str, tuple[str, str]]
    networks: tuple[str, ...]  # paths of what scores


def evaluation(root: Path, system: str) -> Evaluation:
    """Raises UsageError if the declaration is missing or names what is no input."""
    stage = f"{system}-evaluate"
    inputs = {name: str(path) for name, path in block_of(root, stage).inputs.items()}
    told = (read_yaml(root / "dvc.yaml")["stages"][stage].get("meta")) or {}
    places, examples = told.get("model_parts") or {}, told.get("examples") or []
    unknown = {*places, *examples} - inputs.keys()
    if not places or unknown:
        raise UsageError(
            f"{stage} does not say which of its inputs are parts of the model"
            + (f" (no input is called {', '.join(sorted(unknown))})" if unknown else ""),
            where=str(root / "dvc.yaml"),
            do=f"add to the stage `meta: {{model_parts: {{INPUT: PLACE}}, examples: [INPUT]}}`; inputs: {', '.join(inputs)}",
        )
    parts = {name: (inputs[name], str(place)) for name, place in places.items()}
    return Evaluation(parts, tuple(path for name, path in inputs.items() if name not in {*places, *examples}))


def instrument(root: Path, system: str, record: dict[str, Any]) -> dict[str, Any]:
    """What a version's scores were made with (examples aside), by names that a reader understands."""
    facts = next((one for one in record["stages"] if one["stage"] == f"{system}-evaluate"), None)
    if facts is None:
        raise StageError(f"The record of {system} does not say how it was scored", do=f"genworks run {system}")
    upstream = {one["path"]: one.get("md5") for one in record["upstream"]}
    return {
        "evaluation code or libraries": facts["code"],
        **{f"params {key}": values for key, values in facts["params"].items()},
        **{f"external {key}": value for key, value in facts["external"].items()},
        **{path: upstream.get(path) for path in evaluation(root, system).networks},
    }


def record_of(evidence: Path) -> dict[str, Any]:
    return read_json(evidence / RECORD)


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names of what differs between two instruments."""
    return [name for name in dict.fromkeys([*ours, *theirs]) if ours.get(name) != theirs.get(name)]


def same_model(root: Path, system: str, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether everything that an evaluation reads of two versions is the same, byte for byte."""
    paths = [path for path, _ in evaluation(root, system).parts.values()]
    mine, other = ({one["path"]: one.get("md5") for one in record["upstream"]} for record in (ours, theirs))
    return all(mine.get(path) is not None and mine.get(path) == other.get(path) for path in paths)


def rescore(root: Path, system: str, champion: Version, examples: str, wanted: dict[str, Any], temporary: Path) -> Path:
    """The champion's scores on the test set on disk, with the instrument on disk, which must be the candidate's.

    Every part of the model comes from the champion's own folder. Raises StageError if disk and candidate differ.
    """
    stale = differences(wanted, instrument(root, system, provenance(root, system)))
    if stale:
        raise _moved_on(system, f"by other means ({', '.join(stale)})")
    model = model_folder(root, champion, temporary / "model")
    outputs = temporary / "rescored"
    command = [sys.executable, "-m", f"components.{system}.evaluate", "--outputs", str(outputs)]
    for name, (_, place) in evaluation(root, system).parts.items():
        command += ["--input", f"{name}={model / place}"]
    run(command, root, "scoring the champion again")
    if read_json(outputs / "scores.json")["examples"] != examples:
        raise _moved_on(system, "on other examples")
    return outputs


def _moved_on(system: str, how: str) -> StageError:
    return StageError(
        f"The test set on disk is not the one the candidate was scored on, so the two cannot be compared: it was scored {how}",
        where=f"{system}-evaluate",
        do=f"genworks run {system}",
    )


def run(command: list[str], root: Path, doing: str) -> str:
    """Run one of the gate's programs; its stdout."""
    done = subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        said = lines[-1].removeprefix("error: ") if lines else f"exit code {done.returncode}"
        raise StageError(
            f"The gate failed at {doing}: {said}",
            where=" ".join(command[1:3]),
            do="correct that and run again; --gate off promotes without checks",
        )
    return done.stdout
