"""What a system's run will take: each training stage is tried for a few steps, and its figures are multiplied out.

A stage that trains is one whose params hold a section `training`. It is run as `python -m components.… --probe`, with its
real params, inputs and workers, in a scratch folder, and tracked in a scratch store; nothing of it stays. Of the other
stages, the last run here or the tracking store may know how long they took.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.engines.base.block import block_of
from components.engines.base.errors import StageError, UsageError
from components.engines.base.fingerprint import module_of
from components.engines.base.params import read_yaml
from components.engines.base.paths import read_json
from components.engines.tracking.durations import last_durations
from flows.child import Children, python_environment
from flows.dag import Dag, Stage
from flows.execute import last_seconds
from flows.sweeping import scratch

RATES = ("samples_per_second", "tokens_per_second", "mfu")


@dataclass(frozen=True)
class Part:
    """So many steps, scores, checkpoints or starts, and the seconds of one."""

    name: str
    count: int
    seconds_each: float

    @property
    def seconds(self) -> float:
        return self.count * self.seconds_each


@dataclass(frozen=True)
class Forecast:
    """One stage: the sum of its parts, or None where nobody knows; `source` is probe, last run or unknown."""

    stage: str
    source: str
    seconds: float | None = None
    parts: list[Part] = field(default_factory=list)
    peak_memory_mb: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)  # stages that must run before this one can be tried

    def as_dict(self, price_per_hour: float | None) -> dict[str, Any]:
        parts = [asdict(part) | {"seconds": part.seconds} for part in self.parts]
        return asdict(self) | {"parts": parts, "cost": cost_of(self.seconds, price_per_hour)}


def estimate(graph: Dag, system: str, children: Children, say: Callable[[str], None]) -> list[Forecast]:
    """A forecast per stage of the system, in running order.

    Raises UsageError if no training stage has the inputs it needs, naming the stages that make them; StageError if a
    stage fails in its first steps.
    """
    root = graph.root
    graph.select([system])  # refuses an unknown system
    stages = [graph.stages[name] for name in graph.systems[system]]
    training = [stage for stage in stages if _trains(root, stage)]
    needs = {stage.name: _missing_upstream(graph, stage) for stage in training}
    if training and all(needs.values()):
        first = [name for name in graph.stages if any(name in missing for missing in needs.values())]
        first = [name for name in first if name not in needs]
        raise UsageError(
            f"No training stage of {system} can be tried: what they read is not there yet",
            where=", ".join(needs),
            do=f"run {', '.join(first)} first: genworks run {system} --until {first[-1]}",
        )
    before = last_durations(root, system)
    before |= {stage.short: took for stage in stages if (took := last_seconds(root, stage.name)) is not None}
    found = []
    for stage in stages:
        if stage in training and not needs[stage.name]:
            say(f"{stage.name}: trying a few steps")
            found.append(_probe(root, stage, children))
        elif stage in training:
            found.append(Forecast(stage.name, "unknown", needs=needs[stage.name]))
        elif stage.short in before:
            found.append(Forecast(stage.name, "last run", before[stage.short]))
        else:
            found.append(Forecast(stage.name, "unknown"))
    return found


def cost_of(seconds: float | None, price_per_hour: float | None) -> float | None:
    """In the currency of the price, which is that of all machines the run occupies together."""
    return None if seconds is None or price_per_hour is None else seconds / 3600 * price_per_hour


def total(forecasts: list[Forecast], price_per_hour: float | None) -> dict[str, Any]:
    """The sum of what is known, and the stages that it leaves out. Stages one after the other."""
    seconds = sum(one.seconds for one in forecasts if one.seconds is not None)
    peaks = [one.peak_memory_mb for one in forecasts if one.peak_memory_mb is not None]
    return {
        "seconds": seconds,
        "cost": cost_of(seconds, price_per_hour),
        "peak_memory_mb": max(peaks, default=None),
        "without": [one.stage for one in forecasts if one.seconds is None],
    }


def _trains(root: Path, stage: Stage) -> bool:
    section = read_yaml(root / "params.yaml").get(stage.system) or {}
    own = section.get(stage.short) if isinstance(section, dict) else None
    return isinstance(own, dict) and isinstance(own.get("training"), dict) and module_of(stage.cmd) is not None


def _missing_upstream(graph: Dag, stage: Stage) -> list[str]:
    """Stages whose outputs this one needs, directly or not, and that are not there."""
    inputs = block_of(graph.root, stage.name).inputs.values()
    if all((graph.root / path).exists() for path in inputs):
        return []
    above = graph.upstream_of([stage.name]) - {stage.name}
    return [
        name
        for name in graph.stages
        if name in above and not all((graph.root / out).exists() for out in graph.stages[name].outs)
    ]


def _probe(root: Path, stage: Stage, children: Children) -> Forecast:
    """Run the stage for a few steps in a scratch folder that is gone afterwards."""
    module = module_of(stage.cmd)
    assert module is not None
    with scratch(root, "estimate-") as folder:
        figures = folder / "probe.json"
        env = {key: value for key, value in python_environment().items() if not key.startswith("MLFLOW_")}
        env |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(folder),
        }
        words = [module, "--outputs", str(folder / "outputs"), "--probe", str(figures)]
        begin = time.monotonic()
        _run(stage, words, root, env, children)
        seconds = time.monotonic() - begin
        # Without figures it trained nothing (switched off by its params), and this was the whole stage.
        return _forecast(stage.name, read_json(figures), seconds) if figures.exists() else whole(stage.name, seconds)


def whole(stage: str, seconds: float) -> Forecast:
    return Forecast(stage, "probe", seconds, [Part("start", 1, seconds)])


def _run(stage: Stage, words: list[str], root: Path, env: dict[str, str], children: Children) -> None:
    process = children.start(words, cwd=root, env=env)
    try:
        said, _ = process.communicate()
    except BaseException:
        children.stop(process)
        raise
    children.forget(process)
    if process.returncode:
        lines = said.strip().splitlines()
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines[-3:]
        kind = UsageError if process.returncode == UsageError.exit_code else StageError
        raise kind(f"{stage.name} fails in its first steps: {' '.join(told)}")


def _forecast(stage: str, told: dict[str, Any], seconds: float) -> Forecast:
    """Multiply out what the probe told. `start`: all that the command took beyond its steps, scores and checkpoints."""
    parts = [
        Part("start", 1, max(seconds - told["seconds_probe"], 0.0)),
        Part("steps", told["steps"], told["seconds_step"]),
        Part("scores", told["scores"], told["seconds_score"]),
        Part("checkpoints", told["checkpoints"], told["seconds_checkpoint"]),
    ]
    rates: dict[str, float] = {name: told[name] for name in RATES if name in told}
    return Forecast(stage, "probe", sum(part.seconds for part in parts), parts, told["peak_memory_mb"], rates)
