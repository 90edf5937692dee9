"""What the model writes for the test sources, and how likely it finds their targets, beside what anything trivial would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.generation.decoding import Decoding
from components.engines.generation.text import generate_text
from components.engines.language.paired import Translating
from components.engines.language.pairs import Pairs
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.evaluation import shown_samples
from components.engines.scoring.metrics import compute, sentence_scores
from components.engines.scoring.modules.chrf import chrf
from components.engines.scoring.modules.perplexity import perplexity


class Trial:
    """The test pairs with what the model wrote (`outputs`), and how unlikely it finds their targets token by token: `nlls`, and
    `shuffled` with the sources of other pairs."""

    def __init__(self, cleaned: Path, network: Any, tokenizer: Any, max_tokens: int, decoding: Decoding) -> None:
        self.pairs = list(Pairs(cleaned, "test"))
        task = Translating(network.eval(), tokenizer, self.pairs, self.pairs, max_tokens=max_tokens)
        order = np.random.default_rng(derive(0, "shuffled sources")).permutation(len(self.pairs))
        others = [replace(one, source=self.pairs[other].source) for one, other in zip(self.pairs, order, strict=True)]
        self.nlls, self.shuffled = task.nlls(self.pairs), task.nlls(others)
        sources = [one.source for one in self.pairs]
        self.outputs = [one.text for one in generate_text(network, tokenizer, sources, decoding, scored=False)]

    def example_scores(self) -> list[dict[str, Any]]:
        """One row a pair: slices and metrics."""
        likeness = sentence_scores(chrf, self.outputs, [one.target for one in self.pairs])
        return [
            {
                "id": one.key,
                "slices": {"length": length_bucket(len(one.source.split()))},
                "metrics": {
                    "chrf": chrf_score,
                    "exact": float(output == one.target),
                    "log_likelihood": -float(np.mean(nlls)),
                },
            }
            for one, output, chrf_score, nlls in zip(self.pairs, self.outputs, likeness, self.nlls, strict=True)
        ]

    def figures(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The model's figures, each with its baseline beside it."""
        metrics = {name: [row["metrics"][name] for row in rows] for name in rows[0]["metrics"]}
        sources, targets = [one.source for one in self.pairs], [one.target for one in self.pairs]
        return {
            **{name: float(np.mean(values)) for name, values in metrics.items()},
            "chrf_copy_source": float(np.mean(sentence_scores(chrf, sources, targets))),
            "exact_copy_source": float(np.mean([one.source == one.target for one in self.pairs])),
            "perplexity": compute(perplexity, self.nlls)["perplexity"],
            "perplexity_shuffled_sources": compute(perplexity, self.shuffled)["perplexity"],
            "test_pairs": len(rows),
            "slices": by_slice(
                [row["slices"] for row in rows],
                lambda members: {"chrf": float(np.mean([metrics["chrf"][index] for index in members]))},
            ),
        }

    def samples(self, rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """The worst, the best and some arbitrary outputs."""

        scores = [row["metrics"]["chrf"] for row in rows]

        def sample(index: int) -> dict[str, Any]:
            one = self.pairs[index]
            fields = {"source": one.source, "reference": one.target, "output": self.outputs[index]}
            return {"id": one.key, "fields": fields, "score": scores[index]}

        return shown_samples(sorted(range(len(rows)), key=scores.__getitem__), count, sample)
