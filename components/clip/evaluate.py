"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to read."""

from __future__ import annotations

from pathlib import Path

from components.clip.architecture import Architecture
from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.stage import StageContext


class Evaluate(Params):
    """How mismatches are drawn, and how many samples are shown."""

    num_samples: Positive = 30
    seed: int = 0


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    model: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    gallery: Path,
) -> None:
    """Tell right captions from mismatched ones on the test split, retrieve, and find labelled noise in the validation split."""
    from components.clip.measures import trial as measures
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.nn.device import own_device
    from components.engines.scoring.embedder import Embedder
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run

    with stage_run(context, params.model_dump()) as run:
        embedder = Embedder.load(model, architecture.max_tokens).to(own_device())
        trial = measures.Trial(CaptionedImages(cleaned, "test"), embedder, params.seed)
        rows = measures.example_scores(trial)
        figures = measures.figures_of(trial, rows) | measures.noise_found(embedder, CaptionedImages(cleaned, "valid"))
        examples = [[pair.key, pair.metadata["print"]["pixels"], pair.caption] for pair in trial.pairs]
        write_evaluation(
            run, figures, rows, examples, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl
        )
        write_jsonl(samples, measures.samples(trial, params.num_samples, gallery))


if __name__ == "__main__":
    stage.main(evaluate)
