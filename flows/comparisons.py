"""Comparisons: the alternatives a room declares, measured over seeds as DVC experiments, with bars judged.

`components/<system>/comparisons.yaml` maps a name to
- `question`, `until` (the last stage of each run), `metrics` (names in `reports/<system>/metrics.json`, dotted);
- `seeds: {keys: […], values: […]}`: params set together to each value;
- `arms: {arm: {param: value}}`;
- `bars: {metric: {min: …, max: …}}`: what the median of every arm must reach (`arm:` restricts it to one);
- `gain: {metric, arm, over, min}` or a list of them: the median over seeds of arm minus over.

An experiment's name is a digest of all it depends on, so one that has run is not run again.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from components.engines.base import external, fingerprint
from components.engines.base.errors import StageError, UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import digest_value
from flows import dag
from flows.child import Children, python_environment
from flows.execute import is_chatter
from flows.figures import flat
from flows.param_models import known_keys
from flows.settings import is_listed, value_of

_KEYS = {"question", "seeds", "arms", "until", "metrics", "bars", "gain"}


@dataclass(frozen=True)
class Trial:
    """One run of a comparison: an arm under one seed, with the params that it changes."""

    arm: str
    seed: Any
    params: dict[str, Any]
    name: str  # of the experiment: equal names are equal runs


def read_comparisons(root: Path, system: str) -> dict[str, dict[str, Any]]:
    """The system's declared comparisons. Raises UsageError naming the file and the key that is wrong."""
    path = root / "components" / system / "comparisons.yaml"
    if not path.is_file():
        raise UsageError(f"{system} declares no comparisons", where=str(path), do="write that file")
    declared = read_yaml(path)
    for name, one in declared.items():
        _check(name, one, path)
    return declared


def _check(name: str, one: Any, path: Path) -> None:
    if not isinstance(one, dict):
        raise UsageError(f"Comparison '{name}' must be a mapping", where=str(path))
    unknown = one.keys() - _KEYS
    missing = {"question", "arms", "until", "metrics"} - one.keys()
    if unknown or missing:
        said = f"unknown keys {sorted(unknown)}" if unknown else f"no {sorted(missing)}"
        raise UsageError(f"Comparison '{name}' has {said}", where=str(path), do=f"its keys are {sorted(_KEYS)}")
    named = set(one["metrics"])
    wanted = set(one.get("bars") or {}) | {gain["metric"] for gain in gains(one)}
    if not wanted <= named:
        raise UsageError(
            f"Comparison '{name}' judges {sorted(wanted - named)}, which is not in its metrics", where=str(path)
        )
    arms = {gain[side] for gain in gains(one) for side in ("arm", "over")}
    if not arms <= one["arms"].keys():
        raise UsageError(f"Comparison '{name}' has no arm {sorted(arms - one['arms'].keys())}", where=str(path))


def gains(one: dict[str, Any]) -> list[dict[str, Any]]:
    declared = one.get("gain") or []
    return declared if isinstance(declared, list) else [declared]


def trials(root: Path, graph: dag.Dag, system: str, name: str, one: dict[str, Any]) -> list[Trial]:
    """Every arm under every seed; of their params those that differ from what is in effect, so that a finished stage is reused
    (DVC takes a key set to its default for another than no key).

    Raises UsageError for a param that neither params.yaml nor a stage's model has.
    """
    params = read_yaml(root / "params.yaml")
    known = cache(partial(known_keys, root))
    target = graph.resolve(one["until"], [system])
    code = fingerprint.current(root)
    stages = [graph.stages[stage] for stage in sorted(graph.upstream_of([target]))]
    seeds = one.get("seeds") or {"keys": [], "values": [None]}
    found = []
    for arm, changes in one["arms"].items():
        for seed in seeds["values"]:
            wanted = _external_paths(params, root) | dict.fromkeys(seeds["keys"], seed) | (changes or {})
            document, differing = deepcopy(params), {}
            for key, value in wanted.items():
                listed = is_listed(document, key)
                if not listed and key not in known():
                    raise UsageError(
                        f"A comparison sets '{key}', which no stage reads", where=str(root / "params.yaml")
                    )
                before = value_of(document, key) if listed else known()[key]
                # Where no mapping around the key is listed, that mapping's own default may say otherwise than the key's.
                told = listed or isinstance(value_of(document, key.rpartition(".")[0]), dict)
                if not told or (type(before), before) != (type(value), value):
                    differing[key] = value
                    _set(document, key, value)
            seen = [[s.cmd, code.get(s.name), {key: value_of(document, key) for key in s.params}] for s in stages]
            key = digest_value(seen)
            found.append(Trial(arm, seed, differing, f"{system}-{name}-{arm}-{seed}-{key[:12]}".replace("_", "-")))
    return found


def _external_paths(params: dict[str, Any], root: Path) -> dict[str, str]:
    """Relative files that params point at, made absolute: an experiment runs in a folder of its own."""
    found = {}

    def visit(node: Any, key: str) -> None:
        if isinstance(node, dict):
            for name, child in node.items():
                visit(child, f"{key}.{name}" if key else str(name))
        elif isinstance(node, str) and key.rsplit(".", 1)[-1] in external.EXTERNAL_KEYS and "://" not in node:
            path = root / node
            if not Path(node).is_absolute() and (path.exists() or any(root.glob(node) if "*" in node else [])):
                found[key] = str(path.resolve() if path.exists() else path)

    visit(params, "")
    return found


def _set(document: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for part in parents:
        if not isinstance(document.get(part), dict):
            document[part] = {}
        document = document[part]
    document[name] = value


def measure(
    root: Path, system: str, target: str, trial: Trial, children: Children, say: Callable[[str], None]
) -> tuple[dict[str, float], bool]:
    """The trial's metrics, and whether it had to be run."""
    commit = _known(root, trial.name)
    if commit is None:
        _run(root, target, trial, children, say)
        commit = _known(root, trial.name)
        if commit is None:
            raise StageError(f"DVC lost experiment {trial.name}", where=str(root), do="run the comparison again")
        return _metrics(root, system, commit), True
    return _metrics(root, system, commit), False


def _known(root: Path, name: str) -> str | None:
    """The commit of an experiment of this name, whatever commit it started from."""
    refs = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    for line in refs.splitlines():
        commit, ref = line.split(" ", 1)
        if ref.rsplit("/", 1)[-1] == name:
            return commit
    return None


def _run(root: Path, target: str, trial: Trial, children: Children, say: Callable[[str], None]) -> None:
    from components.engines.tracking.store import store_of

    store = store_of(root)  # an experiment runs in a folder of its own, its runs belong to the project's store
    env = {"MLFLOW_TRACKING_URI": store.tracking, "MLFLOW_REGISTRY_URI": store.registry}
    env |= {"GENWORKS_PIPELINE_RUN": trial.name}
    if store.artifacts:
        env["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = store.artifacts
    settings = [word for key, value in trial.params.items() for word in ("-S", f"++{key}={_hydra(value)}")]
    command = ["dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", trial.name, *settings, target]
    process = children.start(command, cwd=root, env=python_environment() | env)
    lines = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if not is_chatter(line.rstrip()):
                say(line.rstrip())
        code = process.wait()
    except BaseException:
        children.stop(process)
        raise
    children.forget(process)
    if code:
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        told = told or [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-3:]
        raise StageError(f"Arm '{trial.arm}' with seed {trial.seed} failed: {' '.join(told)}")


def _hydra(value: Any) -> str:
    """A value as `dvc exp run -S` reads it (Hydra's override grammar)."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_hydra(child)}" for name, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_hydra, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _metrics(root: Path, system: str, commit: str) -> dict[str, float]:
    """reports/<system>/metrics.json of an experiment: from git, or from DVC's cache where DVC keeps it."""
    path = f"reports/{system}/metrics.json"
    shown = subprocess.run(
        ["git", "show", f"{commit}:./{path}"], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if shown.returncode == 0:
        return flat(json.loads(shown.stdout))
    lock = yaml.safe_load(_git(root, "show", f"{commit}:./dvc.lock"))
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", []) if out["path"] == path]
    if not outs:
        raise StageError(f"Experiment {commit[:12]} left no {path}", do="name a stage in `until` that writes it")
    return flat(dag.load(root).cached_json(outs[0]["md5"]) or {})


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise StageError(f"git {arguments[0]} failed: {done.stderr.strip()}", where=str(root))
    return done.stdout


def summarise(one: dict[str, Any], measured: dict[str, dict[Any, dict[str, float]]]) -> dict[str, Any]:
    """Medians and ranges by arm and metric, and every bar with what it was judged on.

    `measured`: `{arm: {seed: {metric: value}}}`. Raises UsageError for a metric that no run wrote.
    """
    arms = {arm: {metric: _spread(metric, runs) for metric in one["metrics"]} for arm, runs in measured.items()}
    bars = []
    for metric, bar in (one.get("bars") or {}).items():
        for arm in [bar["arm"]] if "arm" in bar else list(arms):
            value = arms[arm][metric]["median"]
            bars.append({"metric": metric, "arm": arm, **bar, "value": value, "met": _met(value, bar)})
    for gain in gains(one):
        pairs = [
            runs[gain["metric"]] - measured[gain["over"]][seed][gain["metric"]]
            for seed, runs in measured[gain["arm"]].items()
        ]
        value = statistics.median(pairs)
        bars.append({**gain, "value": value, "met": _met(value, gain)})
    return {"arms": arms, "bars": bars}


def _spread(metric: str, runs: dict[Any, dict[str, float]]) -> dict[str, Any]:
    absent = [seed for seed, figures in runs.items() if metric not in figures]
    if absent:
        known = ", ".join(sorted(next(iter(runs.values()))))
        raise UsageError(f"No run wrote the metric '{metric}'", do=f"correct `metrics`; there are {known}")
    values = [figures[metric] for figures in runs.values()]
    by_seed = {str(seed): figures[metric] for seed, figures in runs.items()}
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": by_seed}


def _met(value: float, bar: dict[str, Any]) -> bool:
    return bar.get("min", float("-inf")) <= value <= bar.get("max", float("inf"))
