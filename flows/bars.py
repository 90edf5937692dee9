"""The bars a system's figures are held to: its gate's thresholds, and what is claimed of it on its sample world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.params import read_yaml
from flows.comparisons import read_comparisons
from flows.facts import is_sample
from flows.figures import shown


@dataclass(frozen=True)
class Bar:
    """Who asks for it (`gate` or `claim`), and the bounds."""

    who: str
    least: float | None
    most: float | None

    def met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        bounds = [
            f"≥ {shown(self.least)}" if self.least is not None else "",
            f"≤ {shown(self.most)}" if self.most is not None else "",
        ]
        return " and ".join(bound for bound in bounds if bound)


def bars(root: Path, system: str) -> dict[str, list[Bar]]:
    """By figure: thresholds of `<system>.promote`, then the bars of the default arm in comparisons.yaml.

    Claims hold for the sample world, so they are left out where the data are others.
    """
    section = read_yaml(root / "params.yaml").get(system) or {}
    found: dict[str, list[Bar]] = {}
    for name, wanted in ((section.get("promote") or {}).get("thresholds") or {}).items():
        found.setdefault(name, []).append(_bar("gate", wanted if isinstance(wanted, dict) else {"min": wanted}))
    if is_sample(root, system) and (root / "components" / system / "comparisons.yaml").is_file():
        declared = read_comparisons(root, system).get("bars") or {}
        for name, wanted in (declared.get("bars") or {}).items():
            found.setdefault(name, []).append(_bar("claim", wanted))
    return found


def _bar(who: str, bounds: dict[str, Any]) -> Bar:
    return Bar(who, bounds.get("min"), bounds.get("max"))
