"""The end of a fit: its weights in `<work>/final/`, its figures in `<work>/fit.json`, written last."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import explain_os_error
from components.engines.base.paths import digest_path, publish, read_json, remove, temporary_sibling, write_json
from components.engines.training.checkpoints.weights import Tensors, write_tensors
from components.engines.training.state import Row

log = logging.getLogger("genworks")


@dataclass(frozen=True)
class Fit:
    """A finished training: steps taken, rows of the curve, the folder of final weights and the scores they had.

    `weights` holds `<module>.safetensors` per module of the task (averaged weights when EMA is on), without frozen parameters:
    of an adapter, the adapter (load_module checks its base). `step` is the step
    those weights are from: of the best weights it may be earlier than the curve's last.
    """

    step: int
    curve: list[Row]
    weights: Path
    scores: Row


def write_fit(work: Path, fit: dict[str, Any], modules: dict[str, Tensors], frozen: dict[str, str]) -> None:
    """Publish the weights, then the file that says the fit is finished. `frozen`: digests of what is left out, by module."""
    weights = work / "final"
    partial = temporary_sibling(weights)
    try:
        remove(partial)
        partial.mkdir(parents=True)
        for name, tensors in modules.items():
            write_tensors(partial / f"{name}.safetensors", tensors, frozen.get(name))
        publish(partial, weights)
        write_json(work / "fit.json", {**fit, "weights": digest_path(weights)})
    except OSError as error:
        remove(partial)
        raise explain_os_error(error) from error


def read_fit(work: Path) -> tuple[Fit, dict[str, Any]] | None:
    """The finished fit in `work` with its settings, or None if there is none or its weights were damaged."""
    path = work / "fit.json"
    if not path.is_file():
        return None
    try:
        saved = read_json(path)
    except ValueError:
        saved = {}
    weights = work / "final"
    if not weights.is_dir() or digest_path(weights) != saved.get("weights"):
        log.warning("The finished fit in %s is damaged: it is written again from the last checkpoint", work)
        return None
    curve = [{"step": row["step"], **row} for row in saved["curve"]]  # JSON sorted the columns
    return Fit(saved["step"], curve, weights, saved["scores"]), saved["settings"]
