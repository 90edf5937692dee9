"""How likely the model finds the test texts, beside what token frequencies alone say of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.engines.generation.decoding import Decoding
from components.engines.generation.text import generate_text
from components.engines.language.causal import CausalLM, Encoded, Tokens, prompted
from components.engines.language.records import Record, Records
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.evaluation import shown_samples
from components.engines.scoring.likelihood import unigram_nlls
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.perplexity import perplexity


def encoded(cleaned: Path, split: str, tokenizer: Any, max_tokens: int) -> Encoded:
    """The texts of a split as tokens, all of which are to be learnt."""
    return Encoded(Records(cleaned, split), partial(encode, tokenizer, max_tokens))


def encode(tokenizer: Any, max_tokens: int, one: Record) -> Tokens:
    return prompted(tokenizer, "", one.texts["text"], max_tokens)


class Trial:
    """The test texts and, token by token, how unlikely the model (`nlls`) and token frequencies (`unigram`) find them."""

    def __init__(self, cleaned: Path, network: Any, tokenizer: Any, max_tokens: int) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.texts = list(Records(cleaned, "test"))
        train, test = (encoded(cleaned, split, tokenizer, max_tokens) for split in ("train", "test"))
        self.nlls = CausalLM(network, train, test, pad_id=tokenizer.pad_token_id).nlls(test)
        learnt = [one.ids[1:] for one in test]  # the start is given
        self.unigram = unigram_nlls((one.ids[1:] for one in train), learnt, len(tokenizer))

    def example_scores(self) -> list[dict[str, Any]]:
        """One row a text: slices and metrics."""
        return [
            {
                "id": one.key,
                "slices": {"length": length_bucket(len(one.texts["text"].split()))},
                "metrics": {"log_likelihood": -float(np.mean(nlls))},
            }
            for one, nlls in zip(self.texts, self.nlls, strict=True)
        ]

    def figures(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The model's figures, each with its baseline beside it."""
        likelihoods = [row["metrics"]["log_likelihood"] for row in rows]
        return {
            "perplexity": compute(perplexity, self.nlls)["perplexity"],
            "perplexity_unigram": compute(perplexity, self.unigram)["perplexity"],
            "log_likelihood": float(np.mean(likelihoods)),
            "test_texts": len(rows),
            "slices": by_slice(
                [row["slices"] for row in rows],
                lambda members: {"log_likelihood": float(np.mean([likelihoods[index] for index in members]))},
            ),
        }

    def samples(self, rows: list[dict[str, Any]], count: int, decoding: Decoding) -> list[dict[str, Any]]:
        """The least likely, the likeliest and some arbitrary texts, with how the model continues their first half."""

        scores = [row["metrics"]["log_likelihood"] for row in rows]

        def sample(index: int) -> dict[str, Any]:
            words = self.texts[index].texts["text"].split()
            begun = " ".join(words[: (len(words) + 1) // 2])
            (said,) = generate_text(self.network, self.tokenizer, [begun], decoding, scored=False)
            fields = {"text": " ".join(words), "begun": begun, "continued": said.text}
            return {"id": self.texts[index].key, "fields": fields, "score": scores[index]}

        return shown_samples(sorted(range(len(rows)), key=scores.__getitem__), count, sample)
