"""Arrays as metrics get them: feature vectors and images; and figures that say which network's features they rest on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import evaluate
import numpy as np

from components.engines.base.errors import StageError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

PLAIN = "inception_v3"  # the network of the published figures: only with it a figure goes by its bare name


class ArrayMetric(evaluate.Metric):
    """An `evaluate.Metric` that takes arrays or tensors as they are.

    Through Arrow every float becomes a Python object (0.6 s for 512 images of 32 px), and there would have to be as many
    references as predictions, which two *sets* need not have. Examples added with `add` or `add_batch` still take that way.
    """

    takes_arrays = True

    def compute(self, *, predictions: Any = None, references: Any = None, **options: Any) -> dict[str, Any] | None:
        """The figures; without arrays, of what `add` and `add_batch` collected."""
        if predictions is None and references is None:
            return super().compute(**options)
        if references is not None and "references" not in self._feature_names():
            raise UsageError(f"Metric {self.name} takes no references")
        given = {"predictions": predictions, "references": references}
        return self._compute(**{name: given[name] for name in self._feature_names()}, **options)


def matrix(values: Any, what: str, *, log: bool = False) -> np.ndarray:
    """Feature vectors or the like, float64 [samples, width]; in log space the log of 0, -inf, is a value too.

    Raises StageError for another shape or values that are no finite numbers.
    """
    found = _plain(values, what, np.float64)
    if found.ndim != 2 or 0 in found.shape:
        raise StageError(f"{what} must be an array [samples, width], not of shape {list(found.shape)}")
    if not (np.isfinite(found) | (log & np.isneginf(found))).all():
        raise StageError(f"{what} hold values that are no finite numbers", do="look for NaN or overflow in the network")
    return found


def images(values: Any, what: str) -> Tensor:
    """Images, float32 [samples, 3, height, width] with values from 0 to 1. Raises StageError for anything else."""
    import torch

    found = torch.from_numpy(_plain(values, what, np.float32))
    if found.ndim != 4 or found.shape[1] != 3 or 0 in found.shape:
        raise StageError(f"{what} must be images [samples, 3, height, width], not of shape {list(found.shape)}")
    low, high = found.min().item(), found.max().item()
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise StageError(
            f"{what} must have values from 0 to 1, these reach from {low:g} to {high:g}", do="scale or clamp the images"
        )
    return found


def same_shape(predictions: Any, references: Any) -> None:
    """Raises StageError unless there is one reference of the same shape per prediction."""
    if predictions.shape != references.shape:
        raise StageError(
            f"Each prediction needs a reference of its shape, got {list(predictions.shape)} and {list(references.shape)}"
        )


def same_width(predictions: np.ndarray, references: np.ndarray) -> None:
    """Raises StageError unless both sets are features of the same width."""
    if predictions.shape[1] != references.shape[1]:
        raise StageError(
            f"Both sets must come from one network, their features are {predictions.shape[1]} and {references.shape[1]} wide"
        )


def figure(metric: str, network: str | None) -> str:
    """The name of a figure that rests on a network: "fid" with "clip" is "fid_clip", with Inception v3 plain "fid".

    Raises UsageError where no network is named: its figure could be taken for a published one.
    """
    if not isinstance(network, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", network):
        raise UsageError(
            f"Metric {metric} needs the name of the network that its features come from, not {network!r}",
            do=f'pass network="clip" or the like (lower case, digits, _); "{PLAIN}" only for features of Inception v3',
        )
    return metric if network == PLAIN else f"{metric}_{network}"


def _plain(values: Any, what: str, dtype: Any) -> np.ndarray:
    """A copy in plain order (torch takes neither reversed nor read-only arrays); a tensor of any type and device will do."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float() if values.dtype.itemsize < 4 else values.detach().cpu()
    try:
        return np.array(values, dtype=dtype, order="C")
    except (TypeError, ValueError):
        raise StageError(f"{what} must be numbers in an array, all rows of one shape") from None
