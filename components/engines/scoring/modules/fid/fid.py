"""Fréchet distance between two sets of feature vectors (Heusel et al. 2017): FID where the features are Inception's."""

import datasets
import evaluate
import torch
from torchmetrics.image import fid as torchmetrics_fid

from components.engines.base.errors import StageError
from components.engines.scoring import arrays


class Fid(arrays.ArrayMetric):
    """`predictions`: features of generated images, `references`: of real ones, arrays [samples, width]; 0 or more.

    The figure is called "fid_<network>", with Inception v3 "fid". Its bias grows as samples become few, so that only
    figures of the same numbers compare; `full_rank` says whether both sets have more samples than features. Below that
    the covariances know fewer directions than there are, and the figure ranks models, no more.
    """

    def _info(self):
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="https://arxiv.org/abs/1706.08500",
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions, references, network=None):
        name = arrays.figure("fid", network)
        generated, real = arrays.matrix(predictions, "Predictions"), arrays.matrix(references, "References")
        arrays.same_width(generated, real)
        fewest = min(len(generated), len(real))
        if fewest < 2:
            raise StageError("FID needs two samples on either side: one has no covariance")
        distance = torchmetrics_fid.FrechetInceptionDistance(feature=_AsGiven(generated.shape[1]))
        distance.update(torch.from_numpy(generated), real=False)
        distance.update(torch.from_numpy(real), real=True)
        return {
            name: max(distance.compute().item(), 0.0),  # rounding may leave equal sets a hair below 0
            "samples": len(generated),
            "reference_samples": len(real),
            "full_rank": fewest > generated.shape[1],
        }


class _AsGiven(torch.nn.Identity):
    """Stands where torchmetrics expects a feature network: the features are there already."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width
