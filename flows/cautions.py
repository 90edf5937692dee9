"""What must be said beside a system's figures: those that lose to something trivial, and refused models that it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.params import read_yaml
from components.engines.base.paths import read_json
from flows.headlines import lost_to_trivial


def cautions(root: Path, system: str, metrics: dict[str, Any], verdict: dict[str, Any] | None) -> list[str]:
    """Sentences for report and summary; `metrics`: of `metrics.json`, flat. What the verdict remarks itself comes first, once.

    A model that this one stands on may have been refused since the verdict.
    """
    judged = (verdict or {}).get("remarks") or []
    known = tuple(one for one in judged if " that the gate refused " in one)
    foundations = [
        told
        for other, told in _refused_upstream(root, system).items()
        if not any(one.startswith(f"it stands on a model of {other} ") for one in known)
    ]
    return list(dict.fromkeys([*judged, *lost_to_trivial(root, system, metrics), *foundations]))


def _refused_upstream(root: Path, system: str) -> dict[str, str]:
    """By system: the model of another one that this one reads, where its own gate refused it."""
    found = {}
    for other in _read_from(root, system):
        path = root / "reports" / other / "verdict.json"
        verdict = read_json(path) if path.is_file() else {}
        if verdict.get("decision") == "refused":
            version = verdict["candidate"]["version"]
            reasons = "; ".join(verdict["reasons"])
            found[other] = f"it stands on {other} version {version}, which its gate refused: {reasons}"
    return found


def _read_from(root: Path, system: str) -> list[str]:
    """Other systems whose outputs under data/ a stage of this system reads."""
    stages = read_yaml(root / "dvc.yaml").get("stages") or {}
    deps = [dep for name, block in stages.items() if name.startswith(f"{system}-") for dep in block.get("deps") or []]
    folders = [Path(dep).parts for dep in deps]
    return sorted({parts[1] for parts in folders if len(parts) > 2 and parts[0] == "data"} - {system, "code"})
