"""Model versions: each knows its bytes, data, code, params, environment and evidence. Aliases are the ledger's business."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_path, digest_value, read_json, write_json
from components.engines.base.stage import StageContext
from components.engines.tracking.git import commit_of
from components.engines.tracking.models import log_model
from components.engines.tracking.provenance import provenance
from components.engines.tracking.runs import stage_run
from components.engines.tracking.secrets import flatten
from components.engines.tracking.store import Store, opened, shown, store_of

EVIDENCE = "evidence"  # the run's artifact folder: scores, metrics, record, golden
RECORD = "record.json"
GOLDEN = "golden.json"


class NoSuchVersion(UsageError):
    """The registry has no such model, version or alias."""


@dataclass(frozen=True)
class Receipt:
    """Names one version. The file holds no run id: equal registrations give equal bytes wherever they are made."""

    name: str
    version: int
    digest: str
    run_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "digest": self.digest}

    def write(self, path: Path) -> None:
        write_json(path, self.as_dict())

    @classmethod
    def read(cls, path: Path) -> Receipt:
        try:
            fields = read_json(path)
            return cls(str(fields["name"]), int(fields["version"]), str(fields["digest"]))
        except FileNotFoundError:
            raise UsageError("No model has been registered", where=str(path), do="genworks run SYSTEM") from None
        except (ValueError, KeyError, TypeError):
            raise UsageError("The receipt is damaged", where=str(path), do="run the register stage again") from None


@dataclass(frozen=True)
class Version:
    """A registered version as the registry has it."""

    name: str
    version: int
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]
    created: str  # UTC, ISO 8601

    @property
    def digest(self) -> str:
        return self.tags.get("genworks.digest", "")

    @property
    def commit(self) -> str:
        dirty = " (with uncommitted changes)" if self.tags.get("genworks.dirty") == "true" else ""
        return self.tags.get("genworks.commit", "unknown") + dirty

    @property
    def data(self) -> dict[str, str]:
        """DVC's hashes of every upstream artefact, by path."""
        prefix = "genworks.data."
        return {key.removeprefix(prefix): value for key, value in self.tags.items() if key.startswith(prefix)}

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def register(
    context: StageContext,
    model: Path,
    pipeline: str | type,
    evidence: Mapping[str, Path],
    *,
    libraries: Sequence[str] = (),
) -> Receipt:
    """Make `model` (a folder) with the pipeline that serves it a version of `<system>`, or find the one it already is.

    `evidence` are files kept with the version under their own names; `metrics.json`, `scores.json` and `scores.jsonl` are
    what the gate reads. The same model on the same evidence, data, params and code is the same version. Raises UsageError
    without a git commit, without a usable pipeline, or for pickles; StageError when dvc.lock cannot say what it stands on.
    """
    root = context.root
    named = pipeline if isinstance(pipeline, str) else f"{pipeline.__module__}:{pipeline.__qualname__}"
    commit = commit_of(root)
    files = _files(evidence)
    record: dict[str, Any] = {
        "system": context.system,
        "pipeline": named,
        "model": {"digest": digest_path(model)},
        "evidence": {name: digest_path(path) for name, path in sorted(files.items())},
        **provenance(root, context.system, context.stage),
    }
    identity = digest_value(record)
    record |= {"git": {"commit": commit.commit, "dirty": commit.dirty}, "metrics": _metrics(files)}
    store = store_of(root)
    known = _find(store, context.system, identity)
    if known is not None:
        return Receipt(known.name, known.version, known.digest, known.run_id)
    with stage_run(context, context.params) as run:
        run.log_metrics(record["metrics"])
        with opened(store) as client:
            logged = log_model(run.run_id, model, named, root=root, libraries=libraries)
            _log_evidence(client, run.run_id, files, record, logged.golden)
            _ensure_registered_model(client, context.system)
            made = client.create_model_version(
                context.system, logged.uri, run.run_id, tags=_tags(record, identity), model_id=logged.model_id
            )
    return Receipt(context.system, int(made.version), record["model"]["digest"], run.run_id)


def version(root: Path, system: str, which: str | int = "champion") -> Version:
    """A version by number, alias (`champion`, `@previous`) or `latest`. Raises NoSuchVersion naming what there is."""
    store = store_of(root)
    with opened(store) as client:
        from mlflow.exceptions import MlflowException

        wanted = str(which).removeprefix("@")
        try:
            if wanted.isdecimal():
                found = client.get_model_version(system, wanted)
            elif wanted == "latest":
                found = max(_all_versions(client, system), key=lambda one: int(one.version), default=None)
            else:
                found = client.get_model_version_by_alias(system, wanted)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}:
                raise
            found = None
        if found is None:
            raise _unknown(client, store, system, wanted)
        return _version(client, found)


def aliases(client: Any, system: str) -> dict[str, int]:
    """Alias -> version number as the registry has them now."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(system).aliases
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
            return {}
        raise
    return {alias: int(number) for alias, number in found.items()}


def evidence_folder(root: Path, found: Version, destination: Path) -> Path:
    """Fetch a version's evidence (scores, metrics, record, golden) below `destination`."""
    store = store_of(root)
    with opened(store):
        import mlflow

        destination.mkdir(parents=True, exist_ok=True)
        fetched = mlflow.artifacts.download_artifacts(
            run_id=found.run_id, artifact_path=EVIDENCE, dst_path=str(destination)
        )
    folder = Path(fetched)
    if not (folder / RECORD).is_file():
        raise StageError(f"The evidence of {found.name} version {found.version} is gone", where=shown(store.tracking))
    record = read_json(folder / RECORD)
    if digest_value(record) != found.tags.get("genworks.record"):
        raise StageError(
            f"The record of {found.name} version {found.version} was changed after registration",
            where=str(folder / RECORD),
            do="register the model again; do not edit artifacts",
        )
    for name, digest in record["evidence"].items():
        if not (folder / name).exists() or digest_path(folder / name) != digest:
            raise StageError(
                f"Evidence '{name}' of {found.name} version {found.version} was changed after registration",
                where=str(folder / name),
                do="register the model again; do not edit artifacts",
            )
    return folder


def model_folder(root: Path, found: Version, destination: Path) -> Path:
    """Fetch the folder that was registered, checked against its digest."""
    with opened(store_of(root)):
        import mlflow

        destination.mkdir(parents=True, exist_ok=True)
        packed = Path(mlflow.artifacts.download_artifacts(found.uri, dst_path=str(destination)))
        relative = mlflow.models.Model.load(str(packed)).flavors["python_function"]["artifacts"]["model"]["path"]
    folder = packed / relative
    if digest_path(folder) != found.digest:
        raise StageError(
            f"The files of {found.name} version {found.version} are not those that were registered",
            where=str(folder),
            do="roll back to a sound version, or register the model again",
        )
    return folder


def _files(evidence: Mapping[str, Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in evidence.values():
        if not path.exists():
            raise UsageError("A file of the evidence does not exist", where=str(path), do="run the evaluate stage")
        if path.name in files or path.name in {RECORD, GOLDEN}:
            raise UsageError(f"Two files of the evidence are called {path.name}", where=str(path))
        files[path.name] = path
    return files


def _metrics(files: dict[str, Path]) -> dict[str, float]:
    if "metrics.json" not in files:
        return {}
    flat = flatten(read_json(files["metrics.json"]))
    numbers = {k: v for k, v in flat.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _log_evidence(
    client: Any, run_id: str, files: dict[str, Path], record: dict[str, Any], golden: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory(prefix="genworks-evidence-") as temporary:
        folder = Path(temporary)
        for name, path in files.items():
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, folder / name)
        write_json(folder / RECORD, record)
        (folder / GOLDEN).write_text(json.dumps(golden, ensure_ascii=False), encoding="utf-8")
        client.log_artifacts(run_id, str(folder), EVIDENCE)


def _tags(record: dict[str, Any], identity: str) -> dict[str, str]:
    tags = {
        "genworks.digest": record["model"]["digest"],
        "genworks.identity": identity,
        "genworks.record": digest_value(record),
        "genworks.pipeline": record["pipeline"],
        "genworks.commit": record["git"]["commit"],
        "genworks.dirty": str(record["git"]["dirty"]).lower(),
        "genworks.environment": json.dumps(record["environment"], sort_keys=True),
    }
    tags |= {f"genworks.data.{one['path']}": one.get("md5", "") for one in record["upstream"]}
    for facts in record["stages"]:
        stage = facts["stage"]
        tags[f"genworks.params.{stage}"] = json.dumps(facts["params"], sort_keys=True)
        if facts["code"]:
            tags[f"genworks.code.{stage}"] = facts["code"]
        if facts["accepted"]:
            tags[f"genworks.accepted.{stage}"] = json.dumps(facts["accepted"])
    return tags | {f"genworks.metric.{_tag_name(name)}": f"{value:.10g}" for name, value in record["metrics"].items()}


def _tag_name(name: str) -> str:
    """MLflow takes letters, digits and a few signs in a name."""
    return "".join(sign if sign.isalnum() or sign in "_-. /" else "_" for sign in name)[:200]


def _ensure_registered_model(client: Any, system: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(system)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find(store: Store, system: str, identity: str) -> Version | None:
    with opened(store) as client:
        found = client.search_model_versions(f"name = '{system}' and tag.`genworks.identity` = '{identity}'")
        newest = max(found, key=lambda one: int(one.version), default=None)
        return _version(client, newest) if newest is not None else None


def _version(client: Any, found: Any) -> Version:
    number = int(found.version)
    held = tuple(sorted(alias for alias, to in aliases(client, found.name).items() if to == number))
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Version(found.name, number, found.run_id, dict(found.tags), held, created)


def _all_versions(client: Any, system: str) -> list[Any]:
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{system}'", max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _unknown(client: Any, store: Store, system: str, wanted: str) -> NoSuchVersion:
    numbers = sorted(int(one.version) for one in _all_versions(client, system))
    if not numbers:
        return NoSuchVersion(
            f"No model '{system}' is registered", where=shown(store.registry), do=f"genworks run {system}"
        )
    held = [f"{alias} = {number}" for alias, number in sorted(aliases(client, system).items())]
    return NoSuchVersion(
        f"Model '{system}' has no version or alias '{wanted}'",
        where=shown(store.registry),
        do=f"use one of the versions {numbers[0]}–{numbers[-1]}" + (f" or {', '.join(held)}" if held else ""),
    )
