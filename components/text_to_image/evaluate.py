"""Scores of the trained model on the test prompts: figures beside their controls, per-prompt scores for the gate, pictures."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import write_json, write_jsonl
from components.engines.base.stage import StageContext
from components.text_to_image.architecture import Architecture
from components.text_to_image.measures.settings import TrialSettings


class Evaluate(TrialSettings):
    """What is painted and measured, and how many samples are shown."""

    num_samples: Positive = 24


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    curated: Path,
    clip_model: Path,
    text_to_image_model: Path,
    student: Path,
    quantized: Path,
    super_resolution: Path,
    judge: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    pictures: Path,
    charts: Path,
    gallery: Path,
    concepts: Path,
) -> None:
    """Paint the test prompts by the model and by what was made of it; measure, and show.

    `concepts` (JSON) are those that the inference pipeline is to refuse, calibrated on validation pictures.
    """
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.scoring.image_sets.memorization import Memorization
    from components.engines.tracking.runs import stage_run
    from components.text_to_image.measures import harm
    from components.text_to_image.measures.figures import Measures
    from components.text_to_image.measures.gallery import Exhibition
    from components.text_to_image.measures.trial import Trial

    with stage_run(context, params.model_dump()) as run:
        trial = Trial(params, architecture, cleaned, text_to_image_model, student, quantized, context.work / "pictures")
        measures = Measures(trial, clip_model, judge)
        train = CaptionedImages(curated, "train")
        memory = Memorization(trial.painted[trial.chosen], trial.real, train, trial.pixels)
        rows = measures.example_rows()
        refused = harm.concepts_of(measures.embedder, list(CaptionedImages(cleaned, "valid")), architecture.image_px)
        figures = measures.figures(rows, curated, super_resolution, memory)
        figures |= harm.figures(measures.embedder, refused, trial.pairs)
        examples = [[one.key, one.metadata["print"]["pixels"], one.caption] for one in trial.pairs]
        write_evaluation(
            run, figures, rows, examples, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl
        )
        show = Exhibition(trial, measures, gallery)
        write_jsonl(samples, show.samples(rows, params.num_samples))
        write_json(pictures, show.pictures(memory, super_resolution))
        write_json(charts, show.charts(figures))
        write_json(concepts, [one.as_dict() for one in refused])


if __name__ == "__main__":
    stage.main(evaluate)
