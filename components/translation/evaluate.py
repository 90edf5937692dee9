"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.translation.architecture import Architecture


class Evaluate(Params):
    """How translations are made and scored."""

    decoding: Decoding
    batch_size: Positive = 64
    num_samples: Positive = 30
    max_tokens: Positive = 128
    tokenize: Literal["13a", "none", "intl", "zh", "ja-mecab", "char"] = "13a"


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
    """Translate the test split by beam and greedily; score both, and the source copied as if it were a translation."""
    from components.engines.language.pairs import Pairs
    from components.engines.nn.device import own_device
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run
    from components.translation.measures.trial import Trial, likelihood
    from components.translation.networks import marian as networks

    with stage_run(context, params.model_dump()) as run:
        pairs = list(Pairs(cleaned, "test"))
        network, tokenizer = networks.load(model).eval().to(own_device()), networks.load_tokenizer(model, architecture)
        outputs = _translate(params, network, tokenizer, [pair.source for pair in pairs])
        trial = Trial(pairs, outputs, params.tokenize)
        rows = trial.example_scores()
        figures = trial.figures(rows) | likelihood(network, tokenizer, cleaned, params.max_tokens)
        examples = [[pair.key, pair.source, pair.target] for pair in pairs]
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
        write_jsonl(samples, trial.samples(rows, params.num_samples))


def _translate(params: Evaluate, network: Any, tokenizer: Any, sources: list[str]) -> dict[str, list[str]]:
    from components.engines.generation.decoding import Decoding
    from components.engines.generation.text import generate_text

    greedy = Decoding(strategy="greedy", max_new_tokens=params.decoding.max_new_tokens)
    chosen = generate_text(network, tokenizer, sources, params.decoding, batch_size=params.batch_size, scored=False)
    plain = generate_text(network, tokenizer, sources, greedy, batch_size=params.batch_size, scored=False)
    return {"chosen": [one.text for one in chosen], "greedy": [one.text for one in plain], "copy": sources}


if __name__ == "__main__":
    stage.main(evaluate)
