"""Models from code: what MLflow stores is a folder of plain files and the code that reads it, never a pickle."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from components.engines.base.codebase import Codebase
from components.engines.base.errors import StageError, UsageError
from components.engines.base.libraries import version_of
from components.engines.base.paths import digest_file
from components.engines.tracking.finite import refuse_unusable_weights
from components.engines.tracking.loadcheck import encode
from components.engines.tracking.scratch import scratch

_PICKLE_SUFFIXES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill"}


WRAPPER = Path(__file__).with_name("pyfunc.py")


@dataclass(frozen=True)
class LoggedModel:
    """`uri` is MLflow's `models:/m-…`; `golden` holds the example and what this process answered to it, as JSON."""

    uri: str
    model_id: str
    golden: dict[str, Any]
    seal: dict[str, str]  # the files that decide what is loaded (MLmodel, the wrapper, requirements) -> SHA-256


def sealed_files(folder: Path, pipeline: str, root: Path) -> dict[str, str]:
    """What a version loads or executes, by its path in the packed model -> SHA-256: weights, settings, serving code."""
    named = folder.resolve().name
    served = {f"artifacts/{named}/{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*")}
    module = pipeline.partition(":")[0]
    code = {f"code/{path.relative_to(root).as_posix()}": path for path in Codebase(root).imports(module).values()}
    return {name: digest_file(path) for name, path in sorted((served | code).items()) if path.is_file()} | {
        WRAPPER.name: digest_file(WRAPPER)
    }


# What a library loads where a checkpoint asks for it, and does not itself depend on.
_AT_NEED = {"transformers": ("tokenizers", "safetensors", "sentencepiece"), "diffusers": ("torchao",)}


def log_model(
    run_id: str,
    folder: Path,
    pipeline: str,
    *,
    root: Path,
    files: dict[str, str] | None = None,
    model_id: str | None = None,
) -> LoggedModel:
    """Log `folder` with the pipeline class that serves it into an open store's run, as a new model or in place of `model_id`.

    `pipeline` is `components.<room>.serve:Class`: `load(folder) -> Self`, `predict(list[dict], **options) -> list[dict]`,
    a class attribute `example: list[dict]` and, if it takes options over HTTP, `options: dict` of their defaults. The
    model carries exactly the modules the pipeline can import, and pins the libraries those import; `files` are
    its `sealed_files`. Raises UsageError for a pipeline without these parts and for pickles, StageError for weights or
    answers that are no numbers, or if a file changed since `files` were listed.
    """
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    files = sealed_files(folder, pipeline, root) if files is None else files
    refuse_pickles(folder)
    refuse_unusable_weights(folder)
    kind = load_pipeline(pipeline)
    answers = kind.load(folder).predict(kind.example)
    golden = _golden(kind, answers, folder)
    client = mlflow.MlflowClient()
    if model_id is None:
        experiment = client.get_run(run_id).info.experiment_id
        model_id = str(client.create_logged_model(experiment, "model", run_id).model_id)
    with scratch(root, "model") as temporary:
        facts = mlflow.models.Model(artifact_path="model", run_id=run_id, model_id=model_id)
        packed = _pack(folder, pipeline, files, temporary, root, _signature(kind, answers), facts)
        seal = {path.name: digest_file(path) for path in sorted(packed.iterdir()) if path.is_file()}
        place = get_artifact_repository(client.get_logged_model(model_id).artifact_location)
        if place.list_artifacts():
            place.delete_artifacts()
        client.log_model_artifacts(model_id, str(packed))
    client.finalize_logged_model(model_id, "READY")
    return LoggedModel(f"models:/{model_id}", model_id, golden, seal)


def _golden(kind: Any, answers: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    try:
        golden = {"inputs": encode(kind.example), "outputs": encode(answers)}
    except TypeError as error:
        raise UsageError(f"The example of {kind.__name__} cannot be stored: {error}", where=kind.__module__) from None
    if not is_finite(golden["outputs"]):
        raise StageError(
            "The model answers its own example with what is no number", where=str(folder), do="train again"
        )
    return golden


def _pack(
    folder: Path,
    pipeline: str,
    files: dict[str, str],
    temporary: Path,
    root: Path,
    signature: Any,
    facts: Any,
) -> Path:
    """The model as MLflow stores it, below `temporary`, with all `files` in it as they were listed."""
    import mlflow

    module = pipeline.partition(":")[0]
    packed = temporary / "packed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about type hints
        mlflow.pyfunc.save_model(
            str(packed),
            python_model=str(WRAPPER),
            artifacts={"model": folder.resolve().as_uri()},
            code_paths=[str(path) for path in copy_closure(module, root, temporary / "code")],
            model_config={"pipeline": pipeline, "files": files},
            signature=signature,
            pip_requirements=requirements(module, root),
            mlflow_model=facts,
        )
    changed = damage(packed, files)
    if changed:
        raise StageError(f"The model changed while it was registered: {', '.join(changed[:5])}", do="run again")
    return packed


def damage(folder: Path, files: dict[str, str]) -> list[str]:
    """What of a packed model's files is not as listed: the wrapper's own check (see pyfunc.py)."""
    from components.engines.tracking import pyfunc  # imports mlflow

    return pyfunc.damage(folder, files)


def is_finite(value: Any) -> bool:
    """Whether an encoded answer is free of NaN and infinity."""
    if isinstance(value, dict):
        return all(is_finite(child) for child in value.values())
    if isinstance(value, list):
        return all(is_finite(child) for child in value)
    return not isinstance(value, float) or math.isfinite(value)


def load_pipeline(pipeline: str) -> Any:
    """The pipeline class a name such as `components.translation.serve:Translator` stands for."""
    module, _, name = pipeline.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"There is no pipeline {pipeline}: {error}", do="name it module:Class") from error
    lacking = [part for part in ("load", "predict", "example") if not hasattr(kind, part)]
    if lacking:
        raise UsageError(f"Pipeline {pipeline} has no {', '.join(lacking)}", where=module, do="see models.log_model")
    return kind


def refuse_pickles(folder: Path) -> None:
    """Raise UsageError if a file of the folder is a pickle by name or content (torch's zip of one included)."""
    if not folder.is_dir():
        raise UsageError("A model is a folder", where=str(folder), do="run the stage that makes it")
    bad = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_pickle(path)]
    if bad:
        names = ", ".join(path.relative_to(folder).as_posix() for path in bad[:5])
        raise UsageError(f"The model holds pickles: {names}", where=str(folder), do="save weights as safetensors")


def _is_pickle(path: Path) -> bool:
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        return True
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0, 2)
        file.seek(max(file.tell() - 1, 0))
        end = file.read(1)
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and end == b".":
        return True
    if start == b"PK\x03\x04" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return False


def copy_closure(module: str, root: Path, folder: Path) -> list[Path]:
    """Copy every project module that `module` can import below `folder`; returns the top-level packages there."""
    for path in Codebase(root).imports(module).values():
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return sorted(folder.iterdir())


def requirements(module: str, root: Path) -> list[str]:
    """Pinned distributions: what the closure of `module` imports, what those load at need, and MLflow."""
    imported = [name for name in Codebase(root).libraries(module) if version_of(name)]
    names = {_distribution(name) for name in imported} | {"mlflow", "pandas"}
    names |= {needed for name in imported for needed in _AT_NEED.get(name, ())}
    pinned = []
    for name in sorted(names, key=str.lower):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise UsageError(f"Library '{name}' is not installed here, so its version is unknown") from None
        pinned.append(f"{name}=={version.partition('+')[0]}")  # `+cpu` builds are on no public index
    return pinned


@cache
def _distribution(module: str) -> str:
    """What to install for `import module`: mostly the same name; asking for all of them takes seconds."""
    for name in (module, module.replace("_", "-")):
        try:
            importlib.metadata.version(name)
            return name
        except importlib.metadata.PackageNotFoundError:
            continue
    return _owners().get(module, [module])[0]


@cache
def _owners() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _signature(kind: Any, answers: list[dict[str, Any]]) -> Any:
    import pandas
    from mlflow.models import infer_signature

    if len(answers) != len(kind.example):
        raise StageError(f"{kind.__name__}.predict answered {len(answers)} times to {len(kind.example)} inputs")
    options = getattr(kind, "options", None) or None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about integer columns; the signature is checked by use
        return infer_signature(pandas.DataFrame(kind.example), pandas.DataFrame(answers), params=options)
