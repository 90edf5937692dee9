"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, suggestions to read."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import read_json, write_jsonl
from components.engines.base.stage import StageContext
from components.smart_compose.architecture import Architecture, Composing, Personal
from components.smart_compose.measures.settings import Trying


class Evaluate(Trying):
    """How the test mails are tried, and how many suggestions are shown."""

    num_samples: Positive = 30


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    composing: Composing,
    personal: Personal,
    context: StageContext,
    cleaned: Path,
    model: Path,
    threshold: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
) -> None:
    """Ask how likely the model finds the test mails, suggest at places in them, and let a typist type some."""
    from components.engines.language.records import Records
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run
    from components.smart_compose.measures.filters import bias_figures
    from components.smart_compose.measures.personal import personal_figures
    from components.smart_compose.measures.trial import Trial
    from components.smart_compose.serve import THRESHOLD, load_composer

    with stage_run(context, params.model_dump()) as run:
        sure = read_json(threshold / THRESHOLD)["threshold"]
        composer = load_composer(model, architecture, composing, threshold=sure, region=personal.region)
        test = list(Records(cleaned, "test"))
        trial = Trial(composer, Records(cleaned, "train"), test, params)
        rows = trial.example_scores()
        figures = trial.figures(rows) | personal_figures(personal.region) | bias_figures()
        examples = [[one.key, one.texts["subject"], one.texts["previous"], one.texts["body"]] for one in test]
        write_evaluation(
            run, figures, rows, examples, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl
        )
        write_jsonl(samples, trial.samples(params.num_samples))


if __name__ == "__main__":
    stage.main(evaluate)
