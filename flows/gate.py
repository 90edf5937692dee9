"""What a candidate must show, and the checks that see whether it does: thresholds, paired bootstrap, slices, loading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from components.engines.base.errors import StageError, UsageError
from components.engines.base.params import Params
from components.engines.base.paths import read_json
from components.engines.tracking.loading import check_loading
from components.engines.tracking.registry import GOLDEN, Version, evidence_folder, model_folder
from components.engines.tracking.store import store_of

Gate = Literal["off", "dry-run", "enforce"]


class Bounds(Params):
    """What a metric must keep to; either end may be open."""

    min: float | None = None
    max: float | None = None


class Promotion(Params):
    """Section `<system>.promote`: what a candidate must show before it becomes the champion.

    It is refused if a metric is out of its bounds; if on `metric` it is significantly worse than the champion (the
    interval of the difference lies wholly on the worse side of zero) or gains less than `min_gain`; if some slice is
    significantly worse by more than `slice_tolerance`; or if it does not load and answer in a clean process within budget.
    """

    gate: Gate = "enforce"
    metric: str
    thresholds: dict[str, float | Bounds] = Field(default_factory=dict)
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 1000
    seed: int = 0
    min_gain: float = 0.0
    slice_tolerance: Annotated[float, Field(ge=0)] = 0.0
    min_slice: Annotated[int, Field(ge=2)] = 20
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    max_memory_mb: Annotated[float, Field(gt=0)] | None = None

    @field_validator("gate", mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, value: Any) -> Any:
        return "off" if value is False else value


@dataclass
class Verdict:
    """What the gate decided and why. `str()` is one sentence, `as_dict()` all of it."""

    system: str
    gate: Gate
    decision: str  # promoted | refused | unchanged | would promote | would refuse
    candidate: dict[str, Any]
    champion: dict[str, Any] | None
    reasons: list[str] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)
    ledger_line: int | None = None

    @property
    def exit_code(self) -> int:
        return 1 if self.decision == "refused" else 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"exit_code": self.exit_code}

    def __str__(self) -> str:
        against = f" (champion: version {self.champion['version']})" if self.champion else " (no champion yet)"
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{self.system} version {self.candidate['version']} {self.decision}{against}{why}"


def named(found: Version) -> dict[str, Any]:
    return {"version": found.version, "digest": found.digest}


def check(
    verdict: Verdict,
    params: Promotion,
    root: Path,
    candidate: Version,
    champion: Version | None,
    temporary: Path,
) -> None:
    """The checks, cheap ones first; what a refusal makes pointless is not run."""
    ours = evidence_folder(root, candidate, temporary / "candidate")
    metrics, settings = _read_scores(ours)
    if params.metric not in settings["metrics"]:
        raise _no_metric(f"{verdict.system}.promote.metric", params.metric, settings["metrics"])
    verdict.checks["thresholds"] = _thresholds(verdict, params, metrics)
    if champion is not None:
        theirs = _champion_scores(verdict.system, root, champion, settings["examples"], temporary)
        verdict.checks["comparison"] = _comparison(verdict, params, root, ours, theirs)
    if verdict.reasons:
        return
    loading = check_loading(
        store_of(root),
        candidate.uri,
        ours / GOLDEN,
        max_latency_ms=params.max_latency_ms,
        max_memory_mb=params.max_memory_mb,
    )
    verdict.checks["loading"] = loading.as_dict()
    if loading.problem:
        verdict.reasons.append(f"loading check: {loading.problem}")


def _read_scores(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flattened numbers of metrics.json, and scores.json."""
    try:
        return _numbers(read_json(folder / "metrics.json")), read_json(folder / "scores.json")
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise UsageError(f"The version was registered without {name}", do="give it to register() as evidence") from None


def _numbers(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = float(value)
    return found


def _no_metric(key: str, name: str, known: Any) -> UsageError:
    return UsageError(f"Params key '{key}' names metric '{name}', which there is not", do=f"use one of {sorted(known)}")


def _thresholds(verdict: Verdict, params: Promotion, metrics: dict[str, float]) -> dict[str, Any]:
    results = {}
    for name, wanted in params.thresholds.items():
        bounds = wanted if isinstance(wanted, Bounds) else Bounds(min=wanted)
        if name not in metrics:
            raise _no_metric(f"{verdict.system}.promote.thresholds", name, metrics)
        value = metrics[name]
        if bounds.min is not None and not value >= bounds.min:
            verdict.reasons.append(f"{name} {value:.4g} is below the threshold {bounds.min:g}")
        if bounds.max is not None and not value <= bounds.max:
            verdict.reasons.append(f"{name} {value:.4g} is above the threshold {bounds.max:g}")
        results[name] = {"value": value, "min": bounds.min, "max": bounds.max}
    return results


def _champion_scores(system: str, root: Path, champion: Version, examples: str, temporary: Path) -> Path:
    """The champion's scores on the candidate's examples: as stored, or made now if its test set was another one."""
    stored = evidence_folder(root, champion, temporary / "champion")
    _, settings = _read_scores(stored)
    if settings["examples"] == examples:
        return stored
    model = model_folder(root, champion, temporary / "model")
    outputs = temporary / "rescored"
    command = [sys.executable, "-m", f"components.{system}.evaluate"]
    _run([*command, "--input", f"model={model}", "--outputs", str(outputs)], root, "scoring the champion again")
    _, settings = _read_scores(outputs)
    if settings["examples"] != examples:
        raise StageError(
            "The test set on disk is not the one the candidate was scored on, so the two cannot be compared",
            where=f"{system}-evaluate",
            do=f"genworks run {system}",
        )
    return outputs


def _comparison(verdict: Verdict, params: Promotion, root: Path, ours: Path, theirs: Path) -> dict[str, Any]:
    """Intervals of candidate − champion on the same examples; what they forbid goes into the reasons."""
    command = [sys.executable, "-m", "components.engines.scoring.compare", "--candidate", str(ours)]
    command += ["--champion", str(theirs), "--resamples", str(params.resamples), "--seed", str(params.seed)]
    command += ["--confidence", str(params.confidence), "--min-slice", str(params.min_slice)]
    result = json.loads(_run(command, root, "comparing with the champion"))
    if params.metric not in result["metrics"]:
        raise StageError(
            f"The champion has no scores of '{params.metric}', or they were made another way",
            do="compare on a metric both have, or promote without comparison: --gate off",
        )
    overall = result["metrics"][params.metric]
    if overall["worse"]:
        verdict.reasons.append(f"{params.metric} is significantly worse than the champion's: {_interval(overall)}")
    elif overall["gain"] < params.min_gain:
        verdict.reasons.append(f"{params.metric} gains less than min_gain {params.min_gain:g}: {_interval(overall)}")
    for name, one in result["slices"][params.metric].items():
        if one["most_gain"] < -params.slice_tolerance:
            verdict.reasons.append(f"{params.metric} is significantly worse on slice {name}: {_interval(one)}")
    return result


def _interval(one: dict[str, Any]) -> str:
    percent = f"{100 * one['confidence']:.4g} %"
    return (
        f"{one['candidate']:.4g} against {one['champion']:.4g}, difference {one['difference']:+.4g}, "
        f"{percent} interval [{one['low']:+.4g}, {one['high']:+.4g}] on {one['examples']} examples"
    )


def praise(verdict: Verdict, params: Promotion) -> str:
    comparison = verdict.checks.get("comparison")
    if comparison is None:
        return "first champion: thresholds and loading check passed"
    overall = comparison["metrics"][params.metric]
    how = "significantly better" if overall["better"] else "not significantly worse"
    return f"{params.metric} {how}: {_interval(overall)}"


def _run(command: list[str], root: Path, doing: str) -> str:
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
