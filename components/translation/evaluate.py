"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import digest_value, write_json, write_jsonl
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
    from components.engines.tracking.runs import stage_run
    from components.translation import model as networks
    from components.translation.pairs import Pairs

    with stage_run(context, params.model_dump()) as run:
        pairs = list(Pairs(cleaned, "test"))
        network, tokenizer = networks.load(model).eval(), networks.load_tokenizer(model, architecture)
        outputs = _translate(params, network, tokenizer, [pair.source for pair in pairs])
        rows = _example_scores(params, pairs, outputs)
        figures = _figures(params, pairs, outputs, rows) | _likelihood(network, tokenizer, cleaned, params)
        write_json(metrics, figures)
        write_json(scores_json, _description(pairs, rows))
        write_jsonl(scores_jsonl, rows)
        write_jsonl(samples, _samples(params, pairs, outputs, rows))
        run.log_metrics({name: value for name, value in figures.items() if isinstance(value, int | float)})


def _translate(params: Evaluate, network: Any, tokenizer: Any, sources: list[str]) -> dict[str, list[str]]:
    from components.engines.generation.decoding import Decoding
    from components.engines.generation.text import generate_text

    greedy = Decoding(strategy="greedy", max_new_tokens=params.decoding.max_new_tokens)
    chosen = generate_text(network, tokenizer, sources, params.decoding, batch_size=params.batch_size, scored=False)
    plain = generate_text(network, tokenizer, sources, greedy, batch_size=params.batch_size, scored=False)
    return {"chosen": [one.text for one in chosen], "greedy": [one.text for one in plain], "copy": sources}


def _example_scores(params: Evaluate, pairs: list[Any], outputs: dict[str, list[str]]) -> list[dict[str, Any]]:
    """One row an example: slices and metrics. BLEU is kept as sufficient statistics, since it is no mean over sentences."""
    from components.engines.scoring.buckets import length_bucket
    from components.engines.scoring.metrics import sentence_scores
    from components.engines.scoring.modules.chrf import chrf as chrf_module
    from components.engines.scoring.sentences import bleu_statistics

    references = [pair.target for pair in pairs]
    statistics = bleu_statistics(outputs["chosen"], references, tokenize=params.tokenize)
    rows = []
    chrfs = sentence_scores(chrf_module, outputs["chosen"], references)
    for pair, output, bleu, chrf in zip(pairs, outputs["chosen"], statistics, chrfs, strict=True):
        slices = {"length": length_bucket(len(pair.source.split()))}
        scores: dict[str, Any] = {"bleu": bleu, "chrf": chrf, "exact": float(output == pair.target)}
        if "combination" in pair.meta:  # the sample grammar, whose truth is known
            from components.translation.grammar import agreement

            right, checked = agreement(output)
            slices["combination"] = pair.meta["combination"]
            scores["agreement"] = right / checked
        rows.append({"id": pair.key, "slices": slices, "metrics": scores})
    return rows


def _figures(
    params: Evaluate, pairs: list[Any], outputs: dict[str, list[str]], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Corpus figures of the chosen decoding, with greedy decoding and the copied source beside the main ones."""
    from components.engines.scoring.buckets import by_slice
    from components.engines.scoring.metrics import compute
    from components.engines.scoring.modules.bleu import bleu as bleu_module
    from components.engines.scoring.modules.chrf import chrf as chrf_module
    from components.engines.scoring.modules.meteor import meteor as meteor_module
    from components.engines.scoring.modules.rouge import rouge as rouge_module

    references, chosen = [pair.target for pair in pairs], outputs["chosen"]

    def bleu(way: str, positions: list[int]) -> dict[str, Any]:
        texts, wanted = [outputs[way][i] for i in positions], [references[i] for i in positions]
        return compute(bleu_module, texts, wanted, tokenize=params.tokenize)

    everything = list(range(len(pairs)))
    whole, greedy = bleu("chosen", everything), bleu("greedy", everything)
    figures: dict[str, Any] = {
        "bleu": whole["score"],
        "bleu_greedy": greedy["score"],
        "beam_gain": whole["score"] - greedy["score"],
        "bleu_copy_source": bleu("copy", everything)["score"],
        "bleu_signature": whole["signature"],
        "brevity_penalty": whole["brevity_penalty"],
        "ngram_precisions": whole["precisions"],
        "chrf": compute(chrf_module, chosen, references)["score"],
        "rouge_l": compute(rouge_module, chosen, references)["rougeL"],
        "meteor": compute(meteor_module, chosen, references)["score"],
        "exact": sum(row["metrics"]["exact"] for row in rows) / len(rows),
        "test_pairs": len(pairs),
        "slices": by_slice(
            [row["slices"] for row in rows], lambda positions: {"bleu": bleu("chosen", positions)["score"]}
        ),
    }
    if "agreement" in rows[0]["metrics"]:
        figures |= {
            "agreement": _agreement(chosen),
            "agreement_greedy": _agreement(outputs["greedy"]),
            "agreement_copy_source": _agreement(outputs["copy"]),
        }
    return figures


def _agreement(sentences: list[str]) -> float:
    from components.translation.grammar import agreement

    counts = [agreement(sentence) for sentence in sentences]
    return sum(right for right, _ in counts) / sum(checked for _, checked in counts)


def _likelihood(network: Any, tokenizer: Any, cleaned: Path, params: Evaluate) -> dict[str, float]:
    """Perplexity of the references under the model (teacher forcing)."""
    from components.translation.pairs import Pairs
    from components.translation.translating import Translating

    test = Pairs(cleaned, "test")
    scored = Translating(network, tokenizer, test, test, max_tokens=params.max_tokens).score()
    return {"perplexity": scored["valid_perplexity"], "token_accuracy": scored["valid_accuracy"]}


def _description(pairs: list[Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How the rows add up to figures, and a digest of the examples, so that only scores of the same test are compared."""
    metrics = {
        name: {"aggregate": "bleu" if name == "bleu" else "mean", "higher_is_better": True}
        for name in rows[0]["metrics"]
    }
    return {"examples": digest_value([[p.key, p.source, p.target] for p in pairs]), "metrics": metrics}


def _samples(
    params: Evaluate, pairs: list[Any], outputs: dict[str, list[str]], rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The worst, the best and some arbitrary translations."""
    by_score = sorted(range(len(pairs)), key=lambda index: (rows[index]["metrics"]["chrf"], pairs[index].key))
    each = max(params.num_samples // 3, 1)
    bad = [index for index in by_score[:each] if rows[index]["metrics"]["exact"] < 1]
    good = by_score[::-1][:each]
    step = max(len(pairs) // each, 1)
    kinds = [("bad", bad), ("good", good), ("random", list(range(0, len(pairs), step))[:each])]
    return [
        {
            "id": pairs[index].key,
            "kind": kind,
            "fields": {
                "source": pairs[index].source,
                "reference": pairs[index].target,
                "output": outputs["chosen"][index],
                "greedy": outputs["greedy"][index],
            },
            "score": rows[index]["metrics"]["chrf"],
        }
        for kind, chosen in kinds
        for index in chosen
    ]


if __name__ == "__main__":
    stage.main(evaluate)
