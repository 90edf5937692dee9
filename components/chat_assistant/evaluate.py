"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, answers to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.chat_assistant.architecture import Answering, Architecture
from components.chat_assistant.measures.settings import Trying
from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.stage import StageContext


class Evaluate(Trying):
    """How the models are tried on the test questions, and how many answers are shown."""

    num_samples: Positive = 30


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    answering: Answering,
    context: StageContext,
    cleaned: Path,
    sft: Path,
    dpo: Path,
    ppo: Path,
    reward: Path,
    safety: Path,
    ppo_curve: Path,
    dpo_curve: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
) -> None:
    """Ask all policies the test questions, and what is served, through all its parts; measure reward model and guard."""
    from components.chat_assistant.measures.curves import dpo_figures, ppo_figures
    from components.chat_assistant.measures.trial import Trial
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run

    parts: dict[str, Path] = {"sft": sft, "dpo": dpo, "ppo": ppo, "reward": reward, "safety": safety}
    with stage_run(context, params.model_dump()) as run:
        trial = Trial(cleaned, parts, architecture, answering, params)
        rows = trial.example_scores()
        figures: dict[str, Any] = trial.figures(rows) | ppo_figures(ppo_curve) | dpo_figures(dpo_curve)
        examples = [[one.record.key, *one.record.texts.values()] for one in trial.asked]
        write_evaluation(
            run, figures, rows, examples, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl
        )
        write_jsonl(samples, trial.samples(params.num_samples, rows))


if __name__ == "__main__":
    stage.main(evaluate)
