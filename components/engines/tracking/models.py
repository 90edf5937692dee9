"""Models from code: what MLflow stores is a folder of plain files and the code that reads it, never a pickle."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.base.fingerprint import closure, raw_fingerprint
from components.engines.tracking.loadcheck import encode

_PICKLE_SUFFIXES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill"}


@dataclass(frozen=True)
class LoggedModel:
    """`uri` is MLflow's `models:/m-…`; `golden` holds the example and what this process answered to it, as JSON."""

    uri: str
    model_id: str
    golden: dict[str, Any]


def log_model(run_id: str, folder: Path, pipeline: str, *, root: Path, libraries: Sequence[str] = ()) -> LoggedModel:
    """Log `folder` with the pipeline class that serves it into an open store's run.

    `pipeline` is `components.<room>.serve:Class`: `load(folder) -> Self`, `predict(list[dict], **options) -> list[dict]`,
    a class attribute `example: list[dict]` and, if it takes options over HTTP, `options: dict` of their defaults. The
    model carries exactly the modules the pipeline can import, and pins the libraries those import plus `libraries`.
    Raises UsageError for a pipeline without these parts, and for pickles in the folder.
    """
    import mlflow

    refuse_pickles(folder)
    module = pipeline.partition(":")[0]
    kind = load_pipeline(pipeline)
    answers = kind.load(folder).predict(kind.example)
    try:
        golden = {"inputs": encode(kind.example), "outputs": encode(answers)}
    except TypeError as error:
        raise UsageError(f"The example of {pipeline} cannot be stored: {error}", where=module) from None
    with tempfile.TemporaryDirectory(prefix="genworks-code-") as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about integer columns and type hints; the signature is checked by use
        code = copy_closure(module, root, Path(temporary))
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("pyfunc.py")),
                artifacts={"model": str(folder.resolve())},
                code_paths=[str(path) for path in code],
                model_config={"pipeline": pipeline},
                signature=_signature(kind, answers),
                pip_requirements=requirements(module, root, libraries),
            )
    return LoggedModel(logged.model_uri, logged.model_id, golden)


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
    for path in closure(module, root).values():
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return sorted(folder.iterdir())


def requirements(module: str, root: Path, libraries: Sequence[str] = ()) -> list[str]:
    """Pinned distributions: what the closure of `module` imports, MLflow, and `libraries` (distribution names)."""
    imported = raw_fingerprint(root, {"cmd": f"python -m {module}"}, {})["libraries"]
    names = {_distribution(name) for name in imported} | {"mlflow", "pandas", *libraries}
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
    return infer_signature(pandas.DataFrame(kind.example), pandas.DataFrame(answers), params=options)
