"""What a model stands on, read from the project as it is when the model is registered: data, code, params, environment.

dvc.lock says which bytes every upstream stage read and wrote; `data/code/` says which code it ran.
"""

from __future__ import annotations

import platform
from pathlib import Path, PurePosixPath
from typing import Any

from components.engines.base.errors import StageError
from components.engines.base.fingerprint import CODE_FOLDER, acceptances
from components.engines.base.params import read_yaml
from components.engines.base.paths import digest_value, read_json
from components.engines.tracking.secrets import masked

Stage = dict[str, Any]


def provenance(root: Path, system: str, stage: str = "register") -> dict[str, Any]:
    """Everything upstream of a stage that is about to finish (its own dvc.lock entry is not read: it is not written yet).

    `{"stages": [{"stage", "cmd", "params", "code", "external", "accepted"}], "upstream": [{"path", "stage", "md5", "size"}],
    "environment": {…}}`: stages from the latest to the first, upstream every artefact from the stage's inputs down to
    external sources (stage None). Raises StageError where dvc.lock has no entry, or contradicts itself, for any of them.
    """
    name = f"{system}-{stage}"
    block = (read_yaml(root / "dvc.yaml").get("stages") or {}).get(name)
    if block is None:
        raise StageError(f"dvc.yaml has no stage '{name}', so nothing is known of what it stands on", where=str(root))
    walk = _Walk(_Lock(root))
    walk.read_by("", [_path(dep) for dep in block.get("deps") or []])
    own = {"stage": name, "cmd": block.get("cmd"), "params": masked(_sections(root, block)), **_code(root, name)}
    others = [walk.lock.describe(found) | _code(root, found) for found in reversed(walk.finished)]
    names = [name, *walk.finished]
    libraries = {k: v for found in names for k, v in _fingerprint(root, found).get("libraries", {}).items()}
    return {
        "stages": [own, *others],
        "upstream": [{"path": path, **facts} for path, facts in walk.upstream.items()],
        "environment": {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "libraries": dict(sorted(libraries.items())),
        },
    }


class _Lock:
    """dvc.lock: which stage wrote which path, with which hashes."""

    def __init__(self, root: Path) -> None:
        self.path = root / "dvc.lock"
        document = read_yaml(self.path) if self.path.exists() else {}
        self.stages: dict[str, Stage] = document.get("stages") or {}
        self.outputs = {
            out["path"]: (name, out) for name, stage in self.stages.items() for out in stage.get("outs", [])
        }

    def describe(self, stage: str) -> Stage:
        entry = self.stages[stage]
        params = {key: value for file in (entry.get("params") or {}).values() for key, value in file.items()}
        return {"stage": stage, "cmd": entry.get("cmd"), "params": masked(params)}

    def producer(self, path: str) -> tuple[str | None, Stage]:
        for out, (stage, entry) in self.outputs.items():
            if path == out or PurePosixPath(path).is_relative_to(out):
                return stage, entry
        if not self._is_external(path):
            raise StageError(
                f"dvc.lock does not know where {path} comes from",
                where=str(self.path),
                do="register through `genworks run` or `dvc repro`, which record what every stage wrote",
            )
        return None, {}

    def _is_external(self, path: str) -> bool:
        """Whether some stage read it as an input that no stage writes."""
        return any(dep["path"] == path for stage in self.stages.values() for dep in stage.get("deps", []))

    def dep(self, stage: str, path: str) -> Stage:
        deps = self.stages.get(stage, {}).get("deps", [])
        return next((dep for dep in deps if dep["path"] == path), {})

    @staticmethod
    def hashes(entry: Stage) -> Stage:
        return {key: entry[key] for key in ("md5", "size", "nfiles") if key in entry}


class _Walk:
    """Depth first from a stage's inputs: artefacts met, and stages in the order in which they could have run."""

    def __init__(self, lock: _Lock) -> None:
        self.lock = lock
        self.upstream: dict[str, dict[str, Any]] = {}
        self.finished: list[str] = []

    def read_by(self, reader: str, paths: list[str]) -> None:
        for path in paths:
            if PurePosixPath(path).parent == PurePosixPath(CODE_FOLDER.as_posix()):
                continue
            stage, out = self.lock.producer(path)
            consumed = self.lock.dep(reader, path)
            if stage is None:
                self.upstream[path] = {"stage": None} | self.lock.hashes(consumed)
                continue
            if consumed.get("md5") and path == out["path"] and consumed["md5"] != out.get("md5"):
                raise StageError(
                    f"Stage {reader} was run on another {path} than {stage} has written since",
                    where=str(self.lock.path),
                    do=f"bring it up to date: genworks run {stage.split('-')[0]}",
                )
            self.upstream[out["path"]] = {"stage": stage} | self.lock.hashes(out)
            if stage not in self.finished:
                self.read_by(stage, [dep["path"] for dep in self.lock.stages[stage].get("deps", [])])
                self.finished.append(stage)


def _path(entry: Any) -> str:
    return str(next(iter(entry)) if isinstance(entry, dict) else entry)


def _sections(root: Path, block: Stage) -> dict[str, Any]:
    params = read_yaml(root / "params.yaml")
    found: dict[str, Any] = {}
    for key in block.get("params") or []:
        node: Any = params
        for part in str(key).split("."):
            node = node.get(part) if isinstance(node, dict) else None
        found[str(key)] = node
    return found


def _fingerprint(root: Path, stage: str) -> dict[str, Any]:
    path = root / CODE_FOLDER / f"{stage}.json"
    return read_json(path) if path.exists() else {}


def _code(root: Path, stage: str) -> dict[str, Any]:
    """Digest of the code a stage ran, what its params point at outside the DAG, and changes accepted as harmless."""
    fingerprint = _fingerprint(root, stage)
    return {
        "code": digest_value(fingerprint) if fingerprint else None,
        "external": fingerprint.get("external", {}),
        "accepted": accepted_changes(root, stage),
    }


def accepted_changes(root: Path, stage: str) -> list[dict[str, str]]:
    """Who called a change of the stage's code harmless, when and why; oldest first."""
    return [{key: line[key] for key in ("who", "when", "why")} for line in acceptances(root, stage)]
