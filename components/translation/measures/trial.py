"""Translations of the test split by several decodings, their scores, and the figures that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.language.paired import Translating
from components.engines.language.pairs import Pair, Pairs
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.evaluation import shown_samples
from components.engines.scoring.metrics import compute, sentence_scores
from components.engines.scoring.modules.bleu import bleu
from components.engines.scoring.modules.chrf import chrf
from components.engines.scoring.modules.meteor import meteor
from components.engines.scoring.modules.rouge import rouge
from components.engines.scoring.sentences import bleu_statistics
from components.translation.world.grammar import agreement


class Trial:
    """`outputs`: by decoding (`chosen`, `greedy`, and `copy`: the source as if it were a translation) a text for each pair."""

    def __init__(self, pairs: list[Pair], outputs: dict[str, list[str]], tokenize: str) -> None:
        self.pairs, self.outputs, self.tokenize = pairs, outputs, tokenize
        self.references = [pair.target for pair in pairs]

    def example_scores(self) -> list[dict[str, Any]]:
        """One row an example: slices and metrics. BLEU is kept as sufficient statistics, since it is no mean over sentences."""
        chosen = self.outputs["chosen"]
        statistics = bleu_statistics(chosen, self.references, tokenize=self.tokenize)
        rows = []
        for pair, output, counts, one in zip(
            self.pairs, chosen, statistics, sentence_scores(chrf, chosen, self.references), strict=True
        ):
            slices = {"length": length_bucket(len(pair.source.split()))}
            scores: dict[str, Any] = {"bleu": counts, "chrf": one, "exact": float(output == pair.target)}
            if "combination" in pair.meta:  # the sample grammar, whose truth is known
                right, checked = agreement(output)
                slices["combination"] = pair.meta["combination"]
                scores["agreement"] = right / checked
            rows.append({"id": pair.key, "slices": slices, "metrics": scores})
        return rows

    def figures(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Corpus figures of the chosen decoding, with greedy decoding and the copied source beside the main ones."""
        everything = list(range(len(self.pairs)))
        whole, greedy = self._bleu("chosen", everything), self._bleu("greedy", everything)
        figures: dict[str, Any] = {
            "bleu": whole["score"],
            "bleu_greedy": greedy["score"],
            "beam_gain": whole["score"] - greedy["score"],
            "bleu_copy_source": self._bleu("copy", everything)["score"],
            "bleu_signature": whole["signature"],
            "brevity_penalty": whole["brevity_penalty"],
            "ngram_precisions": whole["precisions"],
            "chrf": compute(chrf, self.outputs["chosen"], self.references)["score"],
            "rouge_l": compute(rouge, self.outputs["chosen"], self.references)["rougeL"],
            "meteor": compute(meteor, self.outputs["chosen"], self.references)["score"],
            "exact": sum(row["metrics"]["exact"] for row in rows) / len(rows),
            "test_pairs": len(self.pairs),
            "slices": by_slice(
                [row["slices"] for row in rows], lambda members: {"bleu": self._bleu("chosen", members)["score"]}
            ),
        }
        if "agreement" in rows[0]["metrics"]:
            figures |= {
                "agreement": _agreement(self.outputs["chosen"]),
                "agreement_greedy": _agreement(self.outputs["greedy"]),
                "agreement_copy_source": _agreement(self.outputs["copy"]),
            }
        return figures

    def _bleu(self, way: str, members: list[int]) -> dict[str, Any]:
        texts, references = [self.outputs[way][i] for i in members], [self.references[i] for i in members]
        return compute(bleu, texts, references, tokenize=self.tokenize)

    def samples(self, rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """The worst, the best and some arbitrary translations."""
        scores = [row["metrics"] for row in rows]

        def sample(index: int) -> dict[str, Any]:
            pair = self.pairs[index]
            fields = {"source": pair.source, "reference": pair.target}
            fields |= {"output": self.outputs["chosen"][index], "greedy": self.outputs["greedy"][index]}
            return {"id": pair.key, "fields": fields, "score": scores[index]["chrf"]}

        order = sorted(range(len(rows)), key=lambda index: (scores[index]["chrf"], self.pairs[index].key))
        return shown_samples(order, count, sample, is_bad=lambda index: scores[index]["exact"] < 1)


def _agreement(sentences: list[str]) -> float:
    counts = [agreement(sentence) for sentence in sentences]
    return sum(right for right, _ in counts) / sum(checked for _, checked in counts)


def likelihood(network: Any, tokenizer: Any, cleaned: Path, max_tokens: int) -> dict[str, float]:
    """Perplexity of the references under the model (teacher forcing)."""
    test = Pairs(cleaned, "test")
    scored = Translating(network, tokenizer, test, test, max_tokens=max_tokens).score()
    return {"perplexity": scored["valid_perplexity"], "token_accuracy": scored["valid_accuracy"]}
