"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to look at."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.SYSTEM.architecture import Architecture


class Evaluate(Params):
    """How captions are made, and how many samples are shown."""

    decoding: Decoding
    num_samples: Positive = 15
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
    """Ask how likely the model finds the test captions with their own images and with others, and let it caption some."""
    from components.engines.generation.captioner import ImageCaptioner
    from components.engines.nn.device import own_device
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run
    from components.SYSTEM.measures.trial import Trial

    with stage_run(context, params.model_dump()) as run:
        captioner = ImageCaptioner.load(model).to(own_device())
        trial = Trial(cleaned, captioner, architecture.max_tokens, params.seed)
        rows = trial.example_scores()
        examples = [[one.key, one.metadata["print"]["pixels"], one.caption] for one in trial.pairs]
        figures = trial.figures(rows)
        write_evaluation(
            run, figures, rows, examples, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl
        )
        write_jsonl(samples, trial.samples(rows, params.num_samples, params.decoding, gallery))


if __name__ == "__main__":
    stage.main(evaluate)
