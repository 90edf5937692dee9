"""The MLflow model of every room, as code: MLflow copies this file into the model and runs it when the model is loaded.

It stands alone (nothing of genworks is imported before the model's own copy of the code is on the path) and wraps the
room's pipeline class, named in the model's configuration as `components.translation.serve:Translator`. The configuration
also lists every file that is loaded or executed with its SHA-256. All are checked first, and code is read from sources only,
each checked again as it is read: a planted file or a changed compiled copy is never executed.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import sys
import warnings
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any

from mlflow.models import ModelConfig, set_model
from mlflow.pyfunc import PythonModel

_CONFIG = ModelConfig(development_config={"pipeline": "", "files": {}})
PIPELINE: str = _CONFIG.get("pipeline")
FILES: dict[str, str] = _CONFIG.get("files")  # path in the model -> SHA-256
FOLDER = Path(os.path.abspath(__file__)).parent  # the path MLflow put on sys.path begins like this, links included
PARTS = ("artifacts", "code")  # folders of the model whose files are loaded or executed, besides this file


def damage(folder: Path, files: dict[str, str]) -> list[str]:
    """What of a packed model's files is not as registered, one phrase each; compiled copies are no files of a model."""
    there = {
        path.relative_to(folder).as_posix() for part in PARTS for path in (folder / part).rglob("*") if path.is_file()
    }
    compiled = {name for name in there if "__pycache__" in name.split("/")}
    problems = [f"{name} was added" for name in sorted(there - files.keys() - compiled)]
    for name, digest in sorted(files.items()):
        if not (folder / name).is_file():
            problems.append(f"{name} is missing")
        elif _sha256(folder / name) != digest:
            problems.append(f"{name} was changed after registration")
    return problems


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _RegisteredSource(SourceFileLoader):
    """Executes a module's source if it is the registered one; no compiled copy is read or written."""

    def path_stats(self, path: Any) -> Any:
        raise OSError("no compiled copies")

    def get_data(self, path: str) -> bytes:
        data = super().get_data(path)
        name = Path(path).relative_to(FOLDER).as_posix()
        if hashlib.sha256(data).hexdigest() != FILES.get(name):
            raise ImportError(f"{name} is not the file that was registered with this model")
        return data


def _finder(path: str) -> FileFinder:
    if not Path(path).is_relative_to(FOLDER / "code"):
        raise ImportError
    return FileFinder(path, (_RegisteredSource, [".py"]))


def _read_registered_code_only() -> None:
    sys.path_hooks.insert(0, _finder)
    for path in [path for path in sys.path_importer_cache if Path(path).is_relative_to(FOLDER / "code")]:
        del sys.path_importer_cache[path]


# MLflow wants a type hint on `model_input`, which it would take for a schema; the model's signature is the schema.
with warnings.catch_warnings(record=True):

    class RoomModel(PythonModel):
        """Loads `<pipeline>.load(folder)`; predicts `<pipeline>.predict(records, **params)`."""

        def load_context(self, context: Any) -> None:
            problems = damage(FOLDER, FILES)
            if problems:
                raise RuntimeError(
                    f"The files of this model are not those that were registered: {'; '.join(problems[:5])}"
                )
            _read_registered_code_only()
            module, _, name = PIPELINE.partition(":")
            self.pipeline = getattr(importlib.import_module(module), name).load(Path(context.artifacts["model"]))

        def predict(self, context: Any, model_input, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
            """A DataFrame, a record, or a list of records or texts -> one record per input, in order."""
            return self.pipeline.predict(self._records(model_input), **(params or {}))

        def _records(self, model_input: Any) -> list[dict[str, Any]]:
            if hasattr(model_input, "to_dict") and hasattr(model_input, "columns"):
                rows = model_input.to_dict(orient="records")
                # a field that some rows lack is NaN there: lacking is what the room's pipeline understands
                return [{k: v for k, v in row.items() if not (isinstance(v, float) and math.isnan(v))} for row in rows]
            items = [model_input] if isinstance(model_input, str | dict) else list(model_input)
            field = next(iter(self.pipeline.example[0]))  # a bare text fills the first field of the room's example
            return [item if isinstance(item, dict) else {field: item} for item in items]


set_model(RoomModel())
