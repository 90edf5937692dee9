"""Inception score (Salimans et al. 2016): are images clearly of one class each, and of all classes together?"""

import datasets
import evaluate
import numpy as np
from scipy import special

from components.engines.base.errors import StageError, UsageError
from components.engines.base.seeds import derive
from components.engines.scoring import arrays


class InceptionScore(arrays.ArrayMetric):
    """exp of the mean KL divergence of p(class | image) from p(class), from 1 (nothing told apart) to the number of classes.

    `predictions`: logits or log-probabilities of generated images, an array [samples, classes] (-inf is allowed: a class
    that is ruled out). Mean and standard deviation over `splits` equal parts of the shuffled samples, called
    "is_<network>" and "is_<network>_std", with Inception v3 "is" and "is_std". It sees no real image: memorised ones score
    as well as new ones. A part must hold many times as many samples as there are classes, or the score is too low.
    """

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="https://arxiv.org/abs/1606.03498",
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("float64"))}),
        )

    def _compute(self, predictions, network=None, splits=10, seed=0):
        name = arrays.figure("is", network)
        logits = arrays.matrix(predictions, "Predictions", log=True)
        if np.isneginf(logits).all(axis=1).any():
            raise StageError("The inception score cannot use a sample for which every class is ruled out")
        if not 1 <= splits <= len(logits):
            raise UsageError(f"splits must be from 1 to the {len(logits)} samples, not {splits}")
        logits = logits[np.random.default_rng(derive(seed, "inception_score")).permutation(len(logits))]
        scores = [_score(special.softmax(part, axis=1)) for part in np.array_split(logits, splits)]
        return {name: float(np.mean(scores)), f"{name}_std": float(np.std(scores)), "samples": len(logits)}


def _score(probabilities):
    """[samples, classes] -> exp(mean KL); a probability of 0 adds nothing."""
    divergence = special.rel_entr(probabilities, probabilities.mean(axis=0, keepdims=True)).sum(axis=1)
    return np.exp(divergence.mean())
