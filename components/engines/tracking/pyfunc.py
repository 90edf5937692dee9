"""The MLflow model of every room, as code: MLflow copies this file into the model and runs it when the model is loaded.

It stands alone (nothing of genworks is imported before the model's own copy of the code is on the path) and wraps the
room's pipeline class, named in the model's configuration as `components.translation.serve:Translator`.
"""

from __future__ import annotations

import importlib
import math
import warnings
from pathlib import Path
from typing import Any

from mlflow.models import ModelConfig, set_model
from mlflow.pyfunc import PythonModel

PIPELINE = ModelConfig(development_config={"pipeline": ""}).get("pipeline")

# MLflow wants a type hint on `model_input`, which it would take for a schema; the model's signature is the schema.
with warnings.catch_warnings(record=True):

    class RoomModel(PythonModel):
        """Loads `<pipeline>.load(folder)`; predicts `<pipeline>.predict(records, **params)`."""

        def load_context(self, context: Any) -> None:
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
