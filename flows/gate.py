"""What a candidate must show, and the checks that see whether it does: thresholds, comparison, slices, loading."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from components.engines.base.errors import StageError, UsageError
from components.engines.base.params import Params
from components.engines.base.paths import digest_value, read_json
from components.engines.tracking.ledger_lines import Line
from components.engines.tracking.loading import check_loading
from components.engines.tracking.registry import EVIDENCE, GOLDEN, Version, evidence_folder
from components.engines.tracking.store import store_of
from flows.alpha import Allowance, allowance
from flows.foundations import changed_language, foundations
from flows.headlines import declared, lost_to_trivial
from flows.instrument import differences, instrument, record_of, rescore, run, same_model

Gate = Literal["off", "dry-run", "enforce"]


class Bounds(Params):
    """What a metric must keep to; either end may be open."""

    min: float | None = None
    max: float | None = None


class Promotion(Params):
    """Section `<system>.promote`: what a candidate must show before it becomes the champion (docs/gate.md).

    It is refused if a metric is beyond its threshold (a plain number is a bound on the side that the metric's direction
    says); if it cannot show that on `metric` it is at most `tolerance` worse than the champion (`non-inferiority`), or more
    than `min_gain` better (`superiority`), at the level that the alpha ledger still allows; if some slice is significantly
    worse by more than `slice_tolerance`; or if it does not load and answer in a clean process within budget.
    """

    gate: Gate = "enforce"
    metric: str
    thresholds: dict[str, float | Bounds] = Field(default_factory=dict)
    rule: Literal["non-inferiority", "superiority"] = "non-inferiority"
    tolerance: Annotated[float, Field(ge=0)] = 0.0  # in the metric's units
    min_gain: Annotated[float, Field(ge=0)] = 0.0
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    slice_tolerance: Annotated[float, Field(ge=0)] = 0.0
    min_slice: Annotated[int, Field(ge=2)] = 20
    resamples: Annotated[int, Field(ge=100)] = 1000
    seed: int = 0
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    max_memory_mb: Annotated[float, Field(gt=0)] | None = None

    @field_validator("gate", mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, value: Any) -> Any:
        return "off" if value is False else value

    @model_validator(mode="after")
    def _can_be_passed(self) -> Promotion:
        if self.rule == "non-inferiority" and not self.tolerance:
            raise ValueError(
                "rule non-inferiority needs a tolerance above 0: the loss of `metric`, in its units, that is of no consequence"
                " (no test can show that nothing at all was lost); or choose rule: superiority"
            )
        if self.rule == "non-inferiority" and self.min_gain:
            raise ValueError("min_gain belongs to rule: superiority")
        return self

    @property
    def bound(self) -> float:
        """What the true gain must be above."""
        return self.min_gain if self.rule == "superiority" else -self.tolerance


@dataclass
class Verdict:
    """What the gate decided and why. `str()` is one sentence, `as_dict()` all of it."""

    system: str
    gate: Gate
    decision: str  # promoted | refused | unchanged | would promote | would refuse
    candidate: dict[str, Any]
    champion: dict[str, Any] | None
    reasons: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # what decides nothing but must be known
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
        known = f". Note: {'; '.join(self.remarks)}" if self.remarks else ""
        return f"{self.system} version {self.candidate['version']} {self.decision}{against}{why}{known}"


def named(found: Version) -> dict[str, Any]:
    return {"version": found.version, "digest": found.digest}


def check(
    verdict: Verdict,
    params: Promotion,
    root: Path,
    candidate: Version,
    champion: Version | None,
    lines: Sequence[Line],
    temporary: Path,
) -> None:
    """The checks, cheap ones first; what a refusal makes pointless is not run. `lines`: the ledger so far."""
    ours = evidence_folder(root, candidate, temporary / "candidate")
    metrics, settings = _read_scores(ours)
    if params.metric not in settings["metrics"]:
        raise _no_metric(f"{verdict.system}.promote.metric", params.metric, settings["metrics"])
    verdict.remarks += [*lost_to_trivial(root, verdict.system, metrics), *foundations(root, candidate)]
    better = {name: one.better == "higher" for name, one in declared(root, verdict.system).headline.items()}
    better |= {name: how["higher_is_better"] for name, how in settings["metrics"].items()}
    verdict.checks["thresholds"] = _thresholds(verdict, params, metrics, better)
    if champion is not None:
        _against(verdict, params, root, candidate, champion, lines, temporary)
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


def _thresholds(
    verdict: Verdict, params: Promotion, metrics: dict[str, float], better: dict[str, bool]
) -> dict[str, Any]:
    results = {}
    for name, wanted in params.thresholds.items():
        if name not in metrics:
            raise _no_metric(f"{verdict.system}.promote.thresholds", name, metrics)
        bounds = wanted if isinstance(wanted, Bounds) else _bound(verdict.system, name, wanted, better)
        value = metrics[name]
        if bounds.min is not None and not value >= bounds.min:
            verdict.reasons.append(f"{name} {value:.4g} is below the threshold {bounds.min:g}")
        if bounds.max is not None and not value <= bounds.max:
            verdict.reasons.append(f"{name} {value:.4g} is above the threshold {bounds.max:g}")
        results[name] = {"value": value, "min": bounds.min, "max": bounds.max}
    return results


def _bound(system: str, name: str, number: float, better: dict[str, bool]) -> Bounds:
    """A plain number bounds a metric on its bad side; of a slice's metric (`slices.length.6-10.bleu`) the last part tells."""
    higher = better.get(name, better.get(name.rsplit(".", 1)[-1]))
    if higher is None:
        raise UsageError(
            f"Params key '{system}.promote.thresholds.{name}' is a plain number, but nobody knows which way is better",
            do=f"write {{min: {number:g}}} or {{max: {number:g}}}",
        )
    return Bounds(min=number) if higher else Bounds(max=number)


def _against(
    verdict: Verdict,
    params: Promotion,
    root: Path,
    candidate: Version,
    champion: Version,
    lines: Sequence[Line],
    temporary: Path,
) -> None:
    """Compare with the champion on the same examples and by the same instrument; what that forbids goes into the reasons."""
    system, ours = verdict.system, temporary / "candidate" / EVIDENCE
    theirs = evidence_folder(root, champion, temporary / "champion")
    mine, other = record_of(ours), record_of(theirs)
    verdict.remarks += changed_language(mine, other)
    if same_model(root, system, mine, other):
        verdict.checks["same_model"] = True
        return
    wanted, examples = instrument(root, system, mine), _read_scores(ours)[1]["examples"]
    old_test = _read_scores(theirs)[1]["examples"] != examples
    changed = differences(wanted, instrument(root, system, other))
    if old_test or changed:
        what = [*(["the test set"] if old_test else []), *changed]
        verdict.checks["rescored"] = what
        verdict.remarks.append(f"the champion was scored again, because {', '.join(what)} changed since")
        theirs = rescore(root, system, champion, examples, wanted, temporary)
    question = [candidate.digest, champion.digest, wanted, params.metric, params.bound]
    earlier = [one.evidence["alpha"] for one in lines if one.evidence.get("alpha")]
    spent = allowance(earlier, examples, digest_value(question), params.alpha)
    verdict.checks["alpha"] = spent.as_dict() | {"alpha": params.alpha}
    verdict.checks["comparison"] = _comparison(verdict, params, root, ours, theirs, spent)


def _comparison(
    verdict: Verdict, params: Promotion, root: Path, ours: Path, theirs: Path, spent: Allowance
) -> dict[str, Any]:
    command = [sys.executable, "-m", "components.engines.scoring.compare", "--candidate", str(ours)]
    command += ["--champion", str(theirs), "--resamples", str(params.resamples), "--seed", str(params.seed)]
    command += ["--confidence", str(1 - params.alpha), "--min-slice", str(params.min_slice)]
    command += ["--metric", params.metric, f"--bound={params.bound!r}", "--level", repr(spent.level)]
    result = json.loads(run(command, root, "comparing with the champion"))
    if "evidence" not in result:
        raise StageError(
            f"The champion has no scores of '{params.metric}', or they were made another way",
            do="compare on a metric both have, or promote without comparison: --gate off",
        )
    overall = result["metrics"][params.metric]
    if not result["evidence"]["passed"]:
        verdict.reasons.append(f"{params.metric} {_shortcoming(params, overall)}: {_shown(result, params, spent)}")
    for name, one in result["slices"][params.metric].items():
        if one["most_gain"] < -params.slice_tolerance:
            verdict.reasons.append(f"{params.metric} is significantly worse on slice {name}: {_interval(one)}")
    return result


def _shortcoming(params: Promotion, overall: dict[str, Any]) -> str:
    if overall["worse"] and overall["most_gain"] < params.bound:
        return "is significantly worse than the champion's"
    if params.rule == "superiority":
        return f"is not shown to gain more than {params.min_gain:g}"
    return f"is not shown to be within {params.tolerance:g} of the champion's"


def _shown(result: dict[str, Any], params: Promotion, spent: Allowance) -> str:
    found = result["evidence"]
    return (
        f"{_interval(result['metrics'][params.metric])}; judgement {spent.number} on this test set, p = {found['p']:.2g} "
        f"against {spent.level:.2g}, surely a gain above {found['least_gain']:+.4g} ({100 * spent.left / params.alpha:.0f} % "
        f"of alpha left)"
    )


def _interval(one: dict[str, Any]) -> str:
    percent = f"{100 * one['confidence']:.4g} %"
    return (
        f"{one['candidate']:.4g} against {one['champion']:.4g}, difference {one['difference']:+.4g}, "
        f"{percent} interval [{one['low']:+.4g}, {one['high']:+.4g}] on {one['examples']} examples"
    )


def praise(verdict: Verdict, params: Promotion) -> str:
    """Why it was promoted."""
    if verdict.checks.get("same_model"):
        return (
            "the champion's model with other serving: thresholds and loading check passed, there is nothing to compare"
        )
    comparison, spent = verdict.checks.get("comparison"), verdict.checks.get("alpha")
    if comparison is None or spent is None:
        return "first champion: thresholds and loading check passed"
    how = f"gains more than {params.bound:g}" if params.rule == "superiority" else f"at most {params.tolerance:g} worse"
    numbers = Allowance(**{name: value for name, value in spent.items() if name != "alpha"})
    return f"{params.metric} {how}: {_shown(comparison, params, numbers)}"
