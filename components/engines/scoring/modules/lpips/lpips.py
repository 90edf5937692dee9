"""LPIPS (Zhang et al. 2018): how different two images look, by the feature maps of a network."""

import math

import datasets
import evaluate
import torch

from components.engines.base.errors import UsageError
from components.engines.scoring import arrays, perceptual


class Lpips(arrays.ArrayMetric):
    """Mean over pairs of images, `predictions` and `references` [samples, 3, height, width] from 0 to 1; 0 for equal ones.

    `network` is a `FeatureNetwork` (scoring/perceptual.py) and gives the figure its name: "lpips_<its name>". `weights`,
    [channels] per layer, are LPIPS' learned ones; without them all channels count alike, the paper's unlearned baseline.
    """

    def _info(self):
        picture = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="https://arxiv.org/abs/1801.03924",
            features=datasets.Features({"predictions": picture, "references": picture}),
        )

    def _compute(self, predictions, references, network=None, **options):
        distances = self.sentence_scores(predictions, references, network, **options)
        return {arrays.figure("lpips", network.name): math.fsum(distances) / len(distances)}

    def sentence_scores(self, predictions, references, network=None, weights=None, batch_size=32):
        """The distance of each pair."""
        if not hasattr(network, "maps"):
            raise UsageError(f"LPIPS needs a network with feature maps, not {network!r}", do="pass e.g. ClipFeatures")
        images, others = arrays.images(predictions, "Predictions"), arrays.images(references, "References")
        arrays.same_shape(images, others)
        if weights is not None:
            weights = [torch.as_tensor(one, dtype=torch.float32) for one in weights]
        return perceptual.perceptual_distances(network, images, others, weights, batch_size).tolist()
