"""Kernel distance between two sets of feature vectors (Bińkowski et al. 2018): KID where the features are Inception's."""

import datasets
import evaluate
import numpy as np
import torch
from torchmetrics.image import kid as torchmetrics_kid

from components.engines.base.errors import StageError, UsageError
from components.engines.base.seeds import derive
from components.engines.scoring import arrays


class Kid(arrays.ArrayMetric):
    """Unbiased squared MMD under the kernel (x·y / width + 1)³, mean and standard deviation over random subsets.

    `predictions`: features of generated images, `references`: of real ones, arrays [samples, width]. The figures are
    called "kid_<network>" and "kid_<network>_std", with Inception v3 "kid" and "kid_std". Unlike FID the mean does not
    depend on the number of samples; for sets from one distribution it lies around 0, on either side.
    """

    def _info(self):
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="https://arxiv.org/abs/1801.01401",
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions, references, network=None, subsets=100, subset_size=100, degree=3, seed=0):
        name = arrays.figure("kid", network)
        generated, real = arrays.matrix(predictions, "Predictions"), arrays.matrix(references, "References")
        arrays.same_width(generated, real)
        if subsets < 1 or subset_size < 2 or degree < 1:
            raise UsageError(
                f"KID needs subsets ≥ 1 of size ≥ 2 and a degree ≥ 1, not {subsets}, {subset_size}, {degree}"
            )
        if min(len(generated), len(real)) < subset_size:
            raise StageError(
                f"KID draws subsets of {subset_size}, more than the {len(generated)} generated or {len(real)} real samples",
                do="generate more or lower subset_size",
            )
        generator = np.random.default_rng(derive(seed, "kid"))
        distances = [
            torchmetrics_kid.poly_mmd(
                _drawn(real, subset_size, generator), _drawn(generated, subset_size, generator), degree=degree
            ).item()
            for _ in range(subsets)
        ]
        return {
            name: float(np.mean(distances)),
            f"{name}_std": float(np.std(distances)),
            "samples": len(generated),
            "reference_samples": len(real),
        }


def _drawn(features, size, generator):
    return torch.from_numpy(features[generator.permutation(len(features))[:size]])
