"""Scores of the trained model on the test prompts: figures beside their controls, per-prompt scores for the gate, clips."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import write_json, write_jsonl
from components.engines.base.stage import StageContext
from components.text_to_video.architecture import Architecture
from components.text_to_video.measures.settings import TrialSettings


class Evaluate(TrialSettings):
    """What is generated and measured, and how many samples are shown."""

    num_samples: Positive = 18


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    context: StageContext,
    curated: Path,
    clip_model: Path,
    text_to_video_model: Path,
    super_resolution: Path,
    interpolator: Path,
    judge: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    pictures: Path,
    charts: Path,
    gallery: Path,
) -> None:
    """Make clips of the test prompts; measure, and show."""
    from components.engines.base.paths import digest_value
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run
    from components.text_to_video.measures.figures import Measures
    from components.text_to_video.measures.gallery import Exhibition
    from components.text_to_video.measures.trial import Trial

    with stage_run(context, params.model_dump()) as run:
        trial = Trial(params, architecture, curated, text_to_video_model, context.work / "clips")
        measures = Measures(trial, clip_model, judge)
        rows = measures.example_rows()
        figures = measures.figures(rows, super_resolution, interpolator)
        examples = [[one.key, digest_value(one.clip.hex()), one.caption] for one in trial.videos]
        write_evaluation(
            run, figures, rows, examples, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl
        )
        show = Exhibition(trial, gallery)
        write_jsonl(samples, show.samples(rows, params.num_samples))
        write_json(pictures, show.pictures())
        write_json(charts, show.charts(figures))


if __name__ == "__main__":
    stage.main(evaluate)
