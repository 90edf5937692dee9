"""What a reader of a verdict should know though it decides nothing: another language, doubtful foundations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.params import read_yaml
from components.engines.tracking import ledger
from components.engines.tracking.registry import NoSuchVersion, Version, version
from flows.instrument import evaluation


def changed_language(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Params of two records that name a language and differ."""
    mine, other = _languages(ours), _languages(theirs)
    return [
        f"{key} was {other.get(key)} for the champion, is {mine.get(key)}"
        for key in sorted(mine.keys() | other.keys())
        if mine.get(key) != other.get(key)
    ]


def _languages(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, child in value.items():
                visit(f"{key}.{name}" if key else str(name), child)
        elif key.rsplit(".", 1)[-1].endswith("language"):
            found[key] = value

    for facts in record["stages"]:
        visit("", facts["params"])
    return found


def foundations(root: Path, candidate: Version) -> list[str]:
    """Models of other rooms that this one was made with and that are not their rooms' champions."""
    stages = read_yaml(root / "dvc.yaml").get("stages") or {}
    others = [name.removesuffix("-register") for name in stages if name.endswith("-register")]
    remarks = []
    for other in [name for name in others if name != candidate.name]:
        try:
            paths = [path for path, _ in evaluation(root, other).parts.values()]
        except UsageError:  # a room without an evaluate stage of its own has no champion to compare with
            continue
        used = {path: candidate.data[path] for path in paths if path in candidate.data}
        if used and (doubt := _doubt(root, other, used)):
            remarks.append(f"it stands on a model of {other} that {doubt}")
    return remarks


def _doubt(root: Path, system: str, used: dict[str, str]) -> str:
    """Why the model with these files is not what its room stands behind; empty if it is the champion."""

    def is_it(data: dict[str, str]) -> bool:
        return all(data.get(path) == digest for path, digest in used.items())

    try:
        if is_it(version(root, system, ledger.CHAMPION).data):
            return ""
    except NoSuchVersion:
        pass
    told = [line for line in ledger.history(root, system) if is_it(line.data)]
    if not told:
        return "was never judged"
    last = told[-1]
    if last.action == "refuse":
        return f"the gate refused (version {last.version}: {last.reason})"
    return f"is not its champion (version {last.version})"
