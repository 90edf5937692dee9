"""What a room says of its figures: which come first, what they mean, what stands beside them, which lose to something trivial.

A room's `measures/figures.yaml` holds `headline`, figures in the order to show them, and `groups` of the others (see the models
below). Names are those of `reports/<system>/metrics.json`, dotted. A figure that a run did not write is left out: what needs to
know the truth is measured on sample worlds only.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.engines.base.params import Params, parse_section, read_yaml
from flows.figures import shown


class Headline(Params):
    """One figure: what it means, and by name and in words what it must beat (`trivial`) and what else stands `beside` it."""

    means: str
    better: Literal["higher", "lower"] = "higher"
    trivial: dict[str, str] = Field(default_factory=dict)
    beside: dict[str, str] = Field(default_factory=dict)


class Group(Params):
    """Figures (names or globs) under one title, with a line on what they mean."""

    title: str
    means: str
    figures: list[str]


class Declared(Params):
    """A room's figures.yaml."""

    headline: dict[str, Headline] = Field(default_factory=dict)
    groups: list[Group] = Field(default_factory=list)

    def groups_of(self, names: list[str]) -> list[tuple[Group, list[str]]]:
        """Names by the first group that wants them, in that group's order; those that none wants last, as Other figures."""
        left, found = list(names), []
        for group in self.groups:
            members = [name for pattern in group.figures for name in left if fnmatch.fnmatchcase(name, pattern)]
            members = list(dict.fromkeys(members))
            left = [name for name in left if name not in members]
            found.append((group, members))
        found.append((Group(title="Other figures" if found else "All figures", means="", figures=[]), left))
        return [(group, members) for group, members in found if members]


@dataclass(frozen=True)
class Beside:
    """A figure to compare with: its name, in words, its value."""

    name: str
    words: str
    value: float


@dataclass(frozen=True)
class Figure:
    """A headline figure of one run. `lost` holds the trivial baselines that it does not beat."""

    name: str
    means: str
    value: float
    better: str
    trivial: list[Beside] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)

    @property
    def lost(self) -> list[Beside]:
        sign = 1 if self.better == "higher" else -1
        return [one for one in self.trivial if not sign * self.value > sign * one.value]


def declared(root: Path, system: str) -> Declared:
    """What the room says; nothing where it has no figures.yaml. Raises UsageError naming the key that is wrong."""
    path = root / "components" / system / "measures" / "figures.yaml"
    return parse_section(Declared, read_yaml(path), "figures", path) if path.is_file() else Declared()


def headline(root: Path, system: str, metrics: dict[str, Any]) -> list[Figure]:
    """The declared headline figures that `metrics` (flat) holds, with what stands beside them."""
    found = []
    for name, one in declared(root, system).headline.items():
        if isinstance(metrics.get(name), int | float):
            trivial, beside = _beside(one.trivial, metrics), _beside(one.beside, metrics)
            found.append(Figure(name, one.means, metrics[name], one.better, trivial, beside))
    return found


def _beside(names: dict[str, str], metrics: dict[str, Any]) -> list[Beside]:
    return [Beside(name, words, metrics[name]) for name, words in names.items() if name in metrics]


def lost_to_trivial(root: Path, system: str, metrics: dict[str, Any]) -> list[str]:
    """One sentence for every headline figure that does not beat a trivial baseline: for report, verdict and summary.

    `metrics`: of `metrics.json`, flat.
    """
    return [
        f"{figure.name} {shown(figure.value)} is no better than its trivial baseline"
        f" ({', '.join(f'{one.words}: {shown(one.value)}' for one in figure.lost)})"
        for figure in headline(root, system, metrics)
        if figure.lost
    ]
