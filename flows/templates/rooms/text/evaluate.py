"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to read."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.SYSTEM.architecture import Architecture


class Evaluate(Params):
    """How samples are continued, and how many are shown."""

    decoding: Decoding
    num_samples: Positive = 15


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
) -> None:
    """Ask how likely the model finds the test texts, and let it continue some."""
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.device import own_device
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run
    from components.SYSTEM.measures.trial import Trial
    from components.SYSTEM.networks import gpt

    with stage_run(context, params.model_dump()) as run:
        network = gpt.load(model).to(own_device())
        trial = Trial(cleaned, network, load_tokenizer(model), architecture.max_tokens)
        rows = trial.example_scores()
        examples = [[one.key, one.texts["text"]] for one in trial.texts]
        figures = trial.figures(rows)
        write_evaluation(
            run, figures, rows, examples, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl
        )
        write_jsonl(samples, trial.samples(rows, params.num_samples, params.decoding))


if __name__ == "__main__":
    stage.main(evaluate)
