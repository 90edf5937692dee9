"""Model versions: each knows its bytes, data, code, params, environment and evidence. Aliases are the ledger's business."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.paths import digest_path, digest_value, read_json, write_json
from components.engines.base.stage import StageContext
from components.engines.tracking.abandoned import settle_runs
from components.engines.tracking.git import commit_of
from components.engines.tracking.models import LoggedModel, load_pipeline, log_model, sealed_files
from components.engines.tracking.names import check_system, figure_name
from components.engines.tracking.provenance import provenance
from components.engines.tracking.runs import recorded_run
from components.engines.tracking.scratch import scratch
from components.engines.tracking.secrets import flatten
from components.engines.tracking.store import opened, store_of
from components.engines.tracking.stored import (
    EVIDENCE,
    GOLDEN,
    RECORD,
    SEAL,
    damage_of,
    evidence_folder,
    model_folder,
)
from components.engines.tracking.versions import NoSuchVersion, Receipt, Version, aliases, find, version

__all__ = [
    "EVIDENCE",
    "GOLDEN",
    "RECORD",
    "NoSuchVersion",
    "Receipt",
    "Version",
    "aliases",
    "evidence_folder",
    "model_folder",
    "register",
    "version",
]

log = logging.getLogger("genworks")


def register(
    context: StageContext,
    model: Path,
    pipeline: str | type,
    evidence: Mapping[str, Path],
) -> Receipt:
    """Make `model` (a folder) with the pipeline that serves it a version of `<system>`, or find the one it already is.

    `evidence` are files kept with the version under their own names; `metrics.json`, `scores.json` and `scores.jsonl` are
    what the gate reads. The same model on the same evidence, data, params and code is the same version; if files of that
    version were lost or changed since, they are written again. Raises UsageError without a git commit, without a usable
    pipeline, or for pickles; StageError for weights that are no numbers, when dvc.lock cannot say what the model stands on,
    and when the registry is away.
    """
    root = context.root
    named = pipeline if isinstance(pipeline, str) else f"{pipeline.__module__}:{pipeline.__qualname__}"
    load_pipeline(named)
    commit = commit_of(root)
    files = _files(evidence)
    listed = sealed_files(model, named, root)
    record: dict[str, Any] = {
        "system": check_system(context.system),
        "pipeline": named,
        "model": {"digest": digest_value({"pipeline": named, "files": listed})},
        "evidence": {name: digest_path(path) for name, path in sorted(files.items())},
        **provenance(root, context.system, context.stage),
    }
    identity = digest_value(record)
    record |= {"git": {"commit": commit.commit, "dirty": commit.dirty}, "metrics": _metrics(files)}
    store = store_of(root)
    with opened(store) as client:
        settle_runs(
            client, store
        )  # a registration that was killed after its last write has nothing left to do but this
    known = find(store, context.system, identity)
    broken = list(damage_of(root, known)) if known is not None else []
    if known is not None and not broken:
        return Receipt(known.name, known.version, known.digest, known.run_id)
    with recorded_run(context, context.params) as run:
        run_id = run.born()
        run.log_metrics(record["metrics"])
        with opened(store) as client:
            model_id = None
            if known is not None:
                log.warning(
                    "version %d was damaged (%s): its files are written again", known.version, "; ".join(broken)
                )
                run_id = known.run_id
                model_id = client.get_model_version(known.name, str(known.version)).source.rpartition("/")[2]
            logged = log_model(run_id, model, named, root=root, files=listed, model_id=model_id)
            record["golden"] = digest_value(logged.golden)
            _log_evidence(client, run_id, files, record, logged.golden, root)
            tags = _tags(record, identity) | {SEAL: json.dumps(logged.seal, sort_keys=True)}
            if known is None:
                number = _make_version(client, context.system, logged, run_id, tags)
            else:
                number = known.version
                for key, value in tags.items():
                    client.set_model_version_tag(known.name, str(number), key, value)
    return Receipt(context.system, number, record["model"]["digest"], run_id)


def _make_version(client: Any, system: str, logged: LoggedModel, run_id: str, tags: dict[str, str]) -> int:
    """The last write, and the only one that makes a version of what was uploaded."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(system)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(system, logged.uri, run_id, tags=tags, model_id=logged.model_id)
    return int(made.version)


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
    client: Any, run_id: str, files: dict[str, Path], record: dict[str, Any], golden: dict[str, Any], root: Path
) -> None:
    with scratch(root, "evidence") as folder:
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
    return tags | {f"genworks.metric.{figure_name(name)}": f"{value:.10g}" for name, value in record["metrics"].items()}
