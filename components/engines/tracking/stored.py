"""Files of a version as the artifact store holds them, checked against what was registered before anybody reads or runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import digest_file, digest_path, digest_value, read_json
from components.engines.tracking.addresses import local_path
from components.engines.tracking.models import damage
from components.engines.tracking.scratch import scratch
from components.engines.tracking.store import Store, opened, shown, store_of
from components.engines.tracking.versions import Version, all_versions, version

EVIDENCE = "evidence"  # the run's artifact folder: scores, metrics, record, golden
RECORD = "record.json"
GOLDEN = "golden.json"
SEAL = "genworks.seal"  # tag of a version: MLmodel, wrapper and requirements -> SHA-256; MLmodel lists all other files


class DamagedVersion(StageError):
    """Files of a version are lost, or are not those that were registered."""


def evidence_folder(root: Path, found: Version, destination: Path) -> Path:
    """Fetch a version's evidence (scores, metrics, record, golden) below `destination`, checked against the registry."""
    store = store_of(root)
    with opened(store):
        import mlflow

        destination.mkdir(parents=True, exist_ok=True)
        try:
            fetched = mlflow.artifacts.download_artifacts(
                run_id=found.run_id, artifact_path=EVIDENCE, dst_path=str(destination)
            )
        except (OSError, mlflow.exceptions.MlflowException) as error:
            raise _damaged(found, [f"its evidence is gone ({type(error).__name__})"], store) from error
    folder = Path(fetched)
    problems = list(_evidence_problems(folder, found))
    if problems:
        raise _damaged(found, problems, store)
    return folder


def _evidence_problems(folder: Path, found: Version) -> Iterator[str]:
    try:
        record, golden = read_json(folder / RECORD), read_json(folder / GOLDEN)
    except (OSError, ValueError) as error:
        yield f"{EVIDENCE}/{RECORD} or {GOLDEN} cannot be read ({type(error).__name__})"
        return
    if digest_value(record) != found.tags.get("genworks.record"):
        yield f"{EVIDENCE}/{RECORD} was changed after registration"
        return
    if "golden" in record and digest_value(golden) != record["golden"]:
        yield f"{EVIDENCE}/{GOLDEN} was changed after registration"
    for name, digest in record["evidence"].items():
        if not (folder / name).exists() or digest_path(folder / name) != digest:
            yield f"{EVIDENCE}/{name} was changed after registration"


def packed_folder(root: Path, found: Version, destination: Path, *, copy: bool = True) -> Path:
    """The version as MLflow stores it, every file checked: a copy below `destination`, or without `copy` where it lies here.

    Raises DamagedVersion naming the files that are missing or not those that were registered.
    """
    store = store_of(root)
    with opened(store) as client:
        import mlflow

        place = client.get_model_version_download_uri(found.name, str(found.version))
        local = None if copy else local_path(place)
        destination.mkdir(parents=True, exist_ok=True)
        try:
            fetched = str(local or mlflow.artifacts.download_artifacts(place, dst_path=str(destination)))
        except (OSError, mlflow.exceptions.MlflowException) as error:
            raise _damaged(found, [f"its files are gone ({type(error).__name__})"], store) from error
        problems = _packed_problems(Path(fetched), found)
    if problems:
        raise _damaged(found, problems, store)
    return Path(fetched)


def _packed_problems(packed: Path, found: Version) -> list[str]:
    """From the registry's tag down: it seals MLmodel, which lists everything that is loaded or executed."""
    if SEAL not in found.tags:
        return ["it was registered before versions were sealed, so nobody can say whether they are"]
    problems = []
    for name, digest in json.loads(found.tags[SEAL]).items():
        if not (packed / name).is_file():
            problems.append(f"{name} is missing")
        elif digest_file(packed / name) != digest:
            problems.append(f"{name} was changed after registration")
    if problems:
        return problems
    return damage(packed, _flavor(packed)["config"]["files"])


def _flavor(packed: Path) -> dict[str, Any]:
    """What MLmodel says about loading the model."""
    return read_yaml(packed / "MLmodel")["flavors"]["python_function"]


def model_folder(root: Path, found: Version, destination: Path) -> Path:
    """Fetch the folder that was registered (weights and settings), with all of the version checked."""
    packed = packed_folder(root, found, destination)
    return packed / _flavor(packed)["artifacts"]["model"]["path"]


def damage_of(root: Path, found: Version) -> Iterator[str]:
    """What of a version's evidence and files is lost or changed, in words; nothing if it is whole."""
    with scratch(root, "check") as temporary:
        try:
            evidence_folder(root, found, temporary / "evidence")
        except DamagedVersion as error:
            yield error.what
        try:
            packed_folder(root, found, temporary / "packed", copy=False)
        except DamagedVersion as error:
            yield error.what


def damaged_versions(root: Path, system: str) -> Iterator[tuple[Version, str]]:
    """Champion, previous and newest version of a system, where something of them is lost or changed: for `genworks doctor`."""
    with opened(store_of(root)) as client:
        known = all_versions(client, system)
        numbers = {int(one.version) for one in known if one.aliases} | {
            max((int(one.version) for one in known), default=0)
        }
    for number in sorted(numbers - {0}):
        found = version(root, system, number)
        for problem in damage_of(root, found):
            yield found, problem


def _damaged(found: Version, problems: list[str], store: Store) -> DamagedVersion:
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return DamagedVersion(
        f"The files of {found.label} are not those that were registered: {', '.join(problems[:5])}{more}",
        where=shown(store.tracking),
        do=f"make the version whole: dvc repro --force --single-item {found.name}-register; or roll back to a sound one",
    )
