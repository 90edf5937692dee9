"""Typed params: one frozen model per stage, read from `params.yaml`, refused early with the key's name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.engines.base.credentials import refuse_credentials
from components.engines.base.errors import UsageError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times faster, where it is there


@dataclass(frozen=True)
class _Operational:
    """Type of the mark OPERATIONAL."""


# Stands in the annotation of a field that says where, with how much and how safely the work is done, never what comes of it:
# unfinished work goes on under another value. Rounding may differ (workers, threads), as it does between machines.
OPERATIONAL = _Operational()


class Params(BaseModel):
    """Base of every params section: frozen, extra keys forbidden, no silent coercion of strings to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """What decides the outputs, as JSON: all fields but the operational ones, of the sections inside too.

        The one notion of whether unfinished work may go on: work folders and checkpoints stand under it.
        """
        dumped = self.model_dump(mode="json")
        kept = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if OPERATIONAL not in field.metadata:
                kept[name] = value.identity() if isinstance(value, Params) else dumped[name]
        return kept


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# Of a map over shards: how many do it, and when it is given up. What is made of a sample depends on neither.
Workers = Annotated[int, Field(ge=0), OPERATIONAL]
GpusPerWorker = Annotated[
    Literal["auto"] | Annotated[float, Field(ge=0)], OPERATIONAL
]  # auto: its share of what is there
MaxBadFraction = Annotated[float, Field(ge=0, le=1), OPERATIONAL]
MaxRejectedFraction = Annotated[float, Field(ge=0, le=1), OPERATIONAL]

_MAX_VALUES, _MAX_DEPTH = 100_000, 100

P = TypeVar("P", bound=Params)


def parse_yaml(text: str | bytes) -> Any:
    """As `yaml.safe_load`, ten times faster, for our own texts: libyaml crashes on very deep ones. Raises YAMLError."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader


def read_yaml(path: Path) -> dict[str, Any]:
    """Parse a YAML mapping. Raises UsageError if the file is missing, is no YAML or is no mapping."""
    try:
        parsed = _parse(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise UsageError(f"{path.name} does not exist", where=str(path), do="run inside a genworks project") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}", where=str(path)) from None
    if not isinstance(parsed, dict):
        raise UsageError(f"{path.name} must be a mapping of sections", where=str(path))
    return parsed


def _parse(text: str, path: Path) -> Any:
    depth = 0
    for event in yaml.parse(
        text, Loader=_LOADER
    ):  # before nodes are made: libyaml's composer recurses until it crashes
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise UsageError(
                f"{path.name} is nested more than {_MAX_DEPTH} deep", where=str(path), do="write it flatter"
            )
    loader = _LOADER(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_expansion(root, path)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _refuse_expansion(root: yaml.Node, path: Path) -> None:
    """Refuse a document whose anchors stand for more values than anybody wrote: 1 kB of them can mean gigabytes.

    Looked at before anything is built, since merge keys (`<<`) are written out then. Every alias is the same node: its size is
    found once and added wherever it is used.
    """
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if not isinstance(node, yaml.CollectionNode):
            return 1
        if depth > _MAX_DEPTH:
            raise UsageError(f"{path.name} has an anchor inside itself", where=str(path), do="write it without")
        if id(node) not in sizes:
            parts = [*itertools.chain(*node.value)] if isinstance(node, yaml.MappingNode) else node.value
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in parts)
        return sizes[id(node)]

    if size(root, 0) > _MAX_VALUES:
        raise UsageError(
            f"{path.name} stands for more than {_MAX_VALUES:,} values once its anchors are written out",
            where=str(path),
            do="write the values themselves, fewer of them",
        )


def section_of(document: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    """The mapping under a dotted key such as `translation.finetune`."""
    node: Any = document
    for depth, part in enumerate(key.split(".")):
        if not isinstance(node, dict) or part not in node:
            missing = ".".join(key.split(".")[: depth + 1])
            raise UsageError(f"params have no section '{missing}'", where=str(path), do=f"add '{missing}:' there")
        node = node[part]
    if node is None:
        return {}
    if not isinstance(node, dict):
        raise UsageError(f"params section '{key}' must be a mapping, not {type(node).__name__}", where=str(path))
    return node


def parse_section(kind: type[P], values: dict[str, Any], key: str, path: Path) -> P:
    """Check a section against its model. Raises UsageError naming every wrong key and what it should be.

    A URL with a credential in it is refused first, so that no message about another key repeats it.
    """
    refuse_credentials(values, key, str(path))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(_describe(kind, key, error), where=str(path), do="correct these keys") from None


def load_section(kind: type[P], key: str, path: Path) -> P:
    return parse_section(kind, section_of(read_yaml(path), key, path), key, path)


def _describe(kind: type[Params], key: str, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        dotted = ".".join([key, *map(str, problem["loc"])])
        if problem["type"] == "extra_forbidden":
            known = ", ".join(sorted(kind.model_fields))
            lines.append(f"unknown key '{dotted}' (known: {known})")
        elif problem["type"] == "missing":
            lines.append(f"key '{dotted}' is missing")
        else:
            lines.append(f"key '{dotted}' is wrong: {problem['msg']} (got {problem['input']!r})")
    return "Bad params: " + "; ".join(lines)
