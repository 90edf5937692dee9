"""What changed between the params that a stage's record in dvc.lock holds and those of now, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.dependency.base import Dependency


def is_params(dep: Dependency) -> bool:
    return dep.hash_name == "params"


def read_params(deps: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """The values of all keys that these dependencies name, by file: DVC itself reads the file anew for every stage."""
    wanted: dict[str, Any] = {}
    for dep in filter(is_params, deps):
        every = wanted.setdefault(dep.fs_path, copy(dep))
        every.params = [*dict.fromkeys([*every.params, *dep.params])]
    return {path: every.read_params() for path, every in wanted.items()}


def param_changes(dep: Any, values: dict[str, Any]) -> list[str]:
    """`param KEY: old → new` for every leaf that differs from the recorded value; `values` are those of the file."""
    recorded: dict[str, Any] = dep.hash_info.value or {}
    actual = {key: value for key, value in values.items() if key in dep.params}
    reasons = []
    for key in sorted(set(dep.params) | set(recorded)):
        if key not in dep.params:
            reasons.append(f"param {key} is no longer read")
        elif key not in actual:
            reasons.append(f"param {key} is missing")
        elif key not in recorded:
            reasons.append(f"param {key} was never recorded")
        else:
            reasons += [f"param {text}" for text in _leaf_changes(key, recorded[key], actual[key])]
    return reasons


def _leaf_changes(key: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted(set(old) | set(new), key=str):
            if name not in new:
                found.append(f"{key}.{name}: {_shown(old[name])} → removed")
            elif name not in old:
                found.append(f"{key}.{name}: added, {_shown(new[name])}")
            else:
                found += _leaf_changes(f"{key}.{name}", old[name], new[name])
        return found
    same = old == new or (isinstance(new, tuple) and list(new) == old)
    return [] if same else [f"{key}: {_shown(old)} → {_shown(new)}"]


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
