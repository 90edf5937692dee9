"""What MLflow's own scoring server answers, asked in this process: parsing and writing of requests as over HTTP."""

from __future__ import annotations

import io
import json
from typing import Any


def answers_over_mlflow(uri: str, rows: list[dict[str, Any]], params: dict[str, Any] | None = None) -> list[Any]:
    """`uri` is any that `mlflow models serve -m` takes."""
    import mlflow
    from mlflow.pyfunc import scoring_server

    model = mlflow.pyfunc.load_model(uri)
    body = json.loads(json.dumps({"dataframe_records": rows}))
    frame = scoring_server.infer_and_parse_data(body, model.metadata.get_input_schema())
    told = io.StringIO()
    scoring_server.predictions_to_json(model.predict(frame, params=params), told)
    return json.loads(told.getvalue())["predictions"]
