"""Peak signal-to-noise ratio of images in dB: 10 · log10(range² / mean squared error)."""

import datasets
import evaluate
import numpy as np
from torchmetrics.functional import image as torchmetrics_image

from components.engines.base.errors import UsageError
from components.engines.scoring import arrays


class Psnr(arrays.ArrayMetric):
    """Mean over images of the PSNR of each, `predictions` and `references` [samples, 3, height, width] from 0 to 1.

    Two equal images have no noise, their PSNR is infinite: such an image counts as `ceiling` dB (as does one above it), so
    that means and bootstraps stay finite; `identical` says how many there are. Rounding to 8 bits alone costs about 59 dB.
    """

    def _info(self):
        picture = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            features=datasets.Features({"predictions": picture, "references": picture}),
        )

    def _compute(self, predictions, references, ceiling=100.0):
        ratios = _ratios(predictions, references)
        return {"psnr": float(np.minimum(ratios, _positive(ceiling)).mean()), "identical": int(np.isinf(ratios).sum())}

    def sentence_scores(self, predictions, references, ceiling=100.0):
        """PSNR of each image in dB, at most `ceiling`."""
        return np.minimum(_ratios(predictions, references), _positive(ceiling)).tolist()


def _ratios(predictions, references):
    images, originals = arrays.images(predictions, "Predictions"), arrays.images(references, "References")
    arrays.same_shape(images, originals)
    return torchmetrics_image.peak_signal_noise_ratio(
        images.double(), originals.double(), data_range=1.0, reduction="none", dim=(1, 2, 3)
    ).numpy()


def _positive(ceiling):
    if not 0 < ceiling < float("inf"):
        raise UsageError(f"ceiling must be a finite number of dB above 0, not {ceiling}")
    return ceiling
