"""What a reader wants to know first of a run: on which data, with which params, when, how long."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from components.engines.base.errors import GenworksError
from components.engines.base.params import read_yaml
from components.engines.base.paths import read_json
from components.engines.tracking.durations import LastRun, last_runs
from components.engines.tracking.secrets import masked
from flows import settings
from flows.figures import flat, shown

SAMPLE = "sample"
LONGEST = 3  # stages named with their durations


def facts(root: Path, system: str) -> dict[str, str]:
    """Data, Params, Evaluated and Took, each where it is known."""
    section = read_yaml(root / "params.yaml").get(system) or {}
    runs = _runs(root, system)
    found = {
        "Data": _data(root, system, section.get("ingest") or {}),
        "Params": _params(root, system, section),
        "Evaluated": _date(root, system, runs),
        "Took": _took(runs),
    }
    return {name: value for name, value in found.items() if value}


def is_sample(root: Path, system: str) -> bool:
    """Whether the system runs on its sample world, whose claims stand in comparisons.yaml."""
    section = read_yaml(root / "params.yaml").get(system) or {}
    return (section.get("ingest") or {}).get("source") == SAMPLE


def _data(root: Path, system: str, ingest: dict[str, Any]) -> str:
    source = masked(ingest).get("source")
    if not source:
        return ""
    words = "sample world" if source == SAMPLE else str(source)
    manifests = [path for path in (root / "data" / system).glob("*/manifest.json") if path.parent.name == "cleaned"]
    splits = read_json(manifests[0])["splits"] if manifests else {}
    counts = ", ".join(f"{shown(count)} {split}" for split, count in splits.items())
    return f"{words} ({counts} after cleaning)" if counts else words


def _params(root: Path, system: str, section: dict[str, Any]) -> str:
    """In words how the params differ from the committed ones: not at all, as a profile says, or in so many values."""
    shown_by_git = subprocess.run(
        ["git", "show", "HEAD:./params.yaml"], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if shown_by_git.returncode:
        return ""
    ours, theirs = flat(section), flat((yaml.safe_load(shown_by_git.stdout) or {}).get(system) or {})
    changed = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    if not changed:
        return "as committed"
    words = f"{len(changed)} {'value' if len(changed) == 1 else 'values'} changed since the commit"
    profiles = _profiles(root, system, ours, changed)
    return f"profile {' or '.join(profiles)}; {words}" if profiles else words


def _profiles(root: Path, system: str, ours: dict[str, Any], changed: set[str]) -> list[str]:
    """The profiles that are in force: all that they set of this system is set, and most of what was changed is theirs."""
    held: dict[str, int] = {}
    for path in sorted((root / settings.PROFILES).glob("*.yaml")):
        own = f"{system}."
        wanted = flat({k.removeprefix(own): v for k, v in settings.profile(root, path.stem) if k.startswith(own)})
        if all(ours.get(key, value) == value for key, value in wanted.items()):
            held[path.stem] = len(wanted.keys() & changed)
    most = max(held.values(), default=0)
    return [name for name, count in held.items() if count == most] if most else []


def _runs(root: Path, system: str) -> dict[str, LastRun]:
    """The last runs of its stages; none where tracking is away, which must not cost the report."""
    try:
        return last_runs(root, system)
    except GenworksError:
        return {}


def _date(root: Path, system: str, runs: dict[str, LastRun]) -> str:
    file = root / "reports" / system / "metrics.json"
    moment = runs["evaluate"].ended if "evaluate" in runs else file.stat().st_mtime
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _took(runs: dict[str, LastRun]) -> str:
    if not runs:
        return ""
    longest = sorted(runs, key=lambda stage: -runs[stage].seconds)[:LONGEST]
    parts = ", ".join(f"{stage} {in_words(runs[stage].seconds)}" for stage in longest)
    return f"{in_words(sum(run.seconds for run in runs.values()))} in all tracked stages; longest: {parts}"


def in_words(seconds: float) -> str:
    """A duration as people say it: 42 s, 12 min 5 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
