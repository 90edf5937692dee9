"""The confidence threshold: as high as the share of moments that are to get a suggestion allows, on validation mails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.smart_compose.architecture import Architecture, Composing, Personal


class Calibrate(Params):
    """`coverage` is the share of moments that are to get a suggestion; `min_threshold` holds whatever that would ask for."""

    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.5
    min_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.3
    places_per_mail: Positive = 3
    seed: int = 0


def calibrate(
    params: Calibrate,
    architecture: Architecture,
    composing: Composing,
    personal: Personal,
    context: StageContext,
    cleaned: Path,
    model: Path,
    threshold: Path,
) -> None:
    """Write `threshold.json` into the folder `threshold`: the threshold, and the coverage that it has on the validation mails."""
    from components.engines.language.records import Records
    from components.engines.tracking.runs import stage_run
    from components.smart_compose.measures.coverage import best_confidences, threshold_for
    from components.smart_compose.measures.places import draw_places
    from components.smart_compose.serve import THRESHOLD, load_composer

    with stage_run(context, params.model_dump()) as run:
        composer = load_composer(model, architecture, composing, threshold=params.min_threshold, region=personal.region)
        places = draw_places(Records(cleaned, "valid"), params.places_per_mail, params.seed)
        confidences = best_confidences(composer, places)
        found = threshold_for(confidences, params.coverage, params.min_threshold)
        reached = sum(one >= found for one in confidences) / len(confidences)
        run.log_metrics({"threshold": found, "coverage": reached})
    threshold.mkdir(parents=True)
    write_json(
        threshold / THRESHOLD,
        {"threshold": found, "target": params.coverage, "coverage": reached, "places": len(confidences)},
    )


if __name__ == "__main__":
    stage.main(calibrate)
