"""Perplexity: exp of the mean negative log-likelihood per token (nats)."""

import math

import datasets
import evaluate

from components.engines.base.errors import StageError


class Perplexity(evaluate.Metric):
    """`predictions[i]` holds the negative log-likelihood of every token of text i (see scoring/likelihood.py).

    `perplexity` weighs every token alike (the language model's figure on the corpus); `mean_perplexity` every text.
    Texts without tokens count for nothing.
    """

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("float64"))}),
        )

    def _compute(self, predictions):
        lists = [tokens for tokens in predictions if len(tokens)]
        if not lists:
            raise StageError("Perplexity has nothing to score: no text has a token")
        num_tokens = sum(len(tokens) for tokens in lists)
        mean = math.fsum(math.fsum(tokens) for tokens in lists) / num_tokens
        return {
            "perplexity": _exp(mean),
            "mean_perplexity": math.fsum(_exp(math.fsum(tokens) / len(tokens)) for tokens in lists) / len(lists),
            "mean_nll": mean,
            "num_tokens": num_tokens,
        }

    def sentence_scores(self, predictions):
        """Perplexity of each text. Raises StageError for a text without tokens."""
        if not all(len(tokens) for tokens in predictions):
            raise StageError("Perplexity of a text without tokens")
        return [_exp(math.fsum(tokens) / len(tokens)) for tokens in predictions]


def _exp(nats):
    """exp, refusing what no float holds: such a figure would be no JSON and no evidence."""
    if not math.isfinite(nats) or nats > 700:
        raise StageError(f"The mean negative log-likelihood is {nats}: the model is broken or the figures are no nats")
    return math.exp(nats)
