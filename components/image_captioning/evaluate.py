"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.image_captioning.architecture import Architecture


class Evaluate(Params):
    """How captions are made, and how many samples are shown."""

    decoding: Decoding
    batch_size: Positive = 64
    num_samples: Positive = 30
    seed: int = 0


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    image_captioning_model: Path,
    clip_model: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    gallery: Path,
) -> None:
    """Caption every test image by the chosen decoding and greedily; score both, and what a captioner says that sees nothing."""
    from components.engines.generation.captioner import ImageCaptioner
    from components.engines.nn.device import own_device
    from components.engines.scoring.embedder import Embedder
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run
    from components.image_captioning.measures.trial import Trial

    with stage_run(context, params.model_dump()) as run:
        captioner = ImageCaptioner.load(image_captioning_model).to(own_device())
        trial = Trial(
            cleaned,
            captioner,
            Embedder.load(clip_model).to(own_device()),
            decoding=params.decoding,
            batch_size=params.batch_size,
            seed=params.seed,
        )
        rows = trial.example_scores()
        figures = trial.figures(rows) | _likelihood(captioner, cleaned, architecture)
        examples = [[one.key, one.pixels, one.references] for one in trial.examples]
        write_evaluation(
            run,
            figures,
            rows,
            examples,
            metrics=metrics,
            scores_json=scores_json,
            scores_jsonl=scores_jsonl,
            aggregates={"bleu": "bleu"},
        )
        write_jsonl(samples, trial.samples(rows, params.num_samples, gallery))


def _likelihood(captioner: Any, cleaned: Path, architecture: Architecture) -> dict[str, float]:
    """Perplexity of the test captions under the model (teacher forcing)."""
    from components.engines.captioned.captioning import Captioning
    from components.engines.captioned.dataset import CaptionedImages

    test = CaptionedImages(cleaned, "test")
    scored = Captioning(captioner, test, test, max_tokens=architecture.max_tokens).score()
    return {"perplexity": scored["valid_perplexity"], "token_accuracy": scored["valid_accuracy"]}


if __name__ == "__main__":
    stage.main(evaluate)
