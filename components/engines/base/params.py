"""Typed params: one frozen model per stage, read from `params.yaml`, refused early with the key's name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.engines.base.errors import UsageError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Params(BaseModel):
    """Base of every params section: frozen, extra keys forbidden, no silent coercion of strings to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

P = TypeVar("P", bound=Params)


def read_yaml(path: Path) -> dict[str, Any]:
    """Parse a YAML mapping. Raises UsageError if the file is missing, is no YAML or is no mapping."""
    try:
        parsed = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - a safe loader, in C if built
    except FileNotFoundError:
        raise UsageError(f"{path.name} does not exist", where=str(path), do="run inside a genworks project") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}", where=str(path)) from None
    if not isinstance(parsed, dict):
        raise UsageError(f"{path.name} must be a mapping of sections", where=str(path))
    return parsed


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
    """Check a section against its model. Raises UsageError naming every wrong key and what it should be."""
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
