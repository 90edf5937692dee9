"""What a stage declares: its block in dvc.yaml as paths by name, its sections of params.yaml as checked models."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.fingerprint import CODE_FOLDER
from components.engines.base.params import Params, parse_section, read_yaml, section_of


@dataclass(frozen=True)
class Block:
    """A stage's declaration in dvc.yaml: paths by argument name (fingerprint file aside) and params sections."""

    inputs: dict[str, Path]
    outputs: dict[str, Path]
    sections: tuple[str, ...]


def block_of(root: Path, name: str) -> Block:
    """Read one stage's block. Raises UsageError if it is missing or two of its paths share a name."""
    stages = read_yaml(root / "dvc.yaml").get("stages") or {}
    if name not in stages:
        raise UsageError(f"dvc.yaml has no stage '{name}'", where=str(root / "dvc.yaml"), do="add the stage's block")
    block = stages[name]
    inputs = _named(name, [p for p in _paths(block.get("deps")) if Path(p).parent != CODE_FOLDER])
    outputs = _named(name, [p for kind in ("outs", "metrics", "plots") for p in _paths(block.get(kind))])
    clash = inputs.keys() & outputs.keys()
    if clash:
        raise UsageError(f"Stage '{name}' has an input and an output both called {sorted(clash)}", where="dvc.yaml")
    return Block(inputs, outputs, tuple(p for p in block.get("params") or [] if isinstance(p, str)))


def _paths(entries: list[Any] | None) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or []]


def _named(stage: str, paths: list[str]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    stems = [Path(path).name.split(".")[0] for path in paths]
    for path, stem in zip(map(Path, paths), stems, strict=True):
        alike = [
            other for other, its in zip(paths, stems, strict=True) if its == stem and Path(other).name == path.name
        ]
        name = stem if stems.count(stem) == 1 else path.name.replace(".", "_")
        if len(alike) > 1:
            name = f"{path.parent.name}_{name}"
        if name in named:
            raise UsageError(f"Stage '{stage}' has two paths called '{name}'", where="dvc.yaml", do="rename one")
        named[name] = path
    return named


@dataclass(frozen=True)
class Section:
    """One section of params.yaml as a stage was given it: as it stands there, and checked."""

    key: str  # dotted
    raw: dict[str, Any]
    params: Params


def sections_of(function: Callable[..., None], root: Path, system: str, stage: str, block: Block) -> dict[str, Section]:
    """The sections that the function's arguments ask for, by argument. Raises UsageError for wrong params."""
    path = root / "params.yaml"
    document = read_yaml(path)
    found = {}
    for argument, kind in typing.get_type_hints(function).items():
        if isinstance(kind, type) and issubclass(kind, Params):
            key = f"{system}.{stage if argument == 'params' else argument}"
            if key not in block.sections:
                raise UsageError(f"Stage '{system}-{stage}' reads params '{key}'", where="dvc.yaml", do="list it there")
            values = section_of(document, key, path)
            found[argument] = Section(key, values, parse_section(kind, values, key, path))
    return found
