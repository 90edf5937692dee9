"""Whether a model remembers its training pictures: how near the pictures it paints lie to them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from components.engines.captioned.dataset import CaptionedImages

if TYPE_CHECKING:
    from components.text_to_image.trial import Trial

AT_ONCE = 1024  # training pictures in memory


class Nearest(NamedTuple):
    """Of each picture: `distances` [n] to the nearest training picture, root of the mean square, of 1; `numbers` [n] of those."""

    distances: Tensor
    numbers: Tensor


class Memorisation:
    """The pictures of a trial beside all training pictures, which are read once, some at a time."""

    def __init__(self, trial: Trial, curated: Path) -> None:
        self.trial, self.train = trial, CaptionedImages(curated, "train")

    def figures(self) -> dict[str, float]:
        """Medians for painted and for real test pictures. Painted ones that lie much nearer than real ones are copies."""
        painted, real = self.painted.distances, self.real.distances
        return {
            "nearest_training_image": float(painted.median()),
            "nearest_training_image_real_images": float(real.median()),
            "nearer_than_real_images": float((painted < real.quantile(0.05)).float().mean()),
        }

    @property
    def painted(self) -> Nearest:
        """Of the pictures of the chosen way of painting."""
        return Nearest(*(tensor[: len(self.trial.pairs)] for tensor in self._both))

    @property
    def real(self) -> Nearest:
        return Nearest(*(tensor[len(self.trial.pairs) :] for tensor in self._both))

    @cached_property
    def _both(self) -> Nearest:
        flat = torch.cat([self.trial.painted[self.trial.chosen], self.trial.real]).flatten(1)
        distances, numbers = torch.full((len(flat),), torch.inf), torch.zeros(len(flat), dtype=torch.long)
        for start in range(0, len(self.train), AT_ONCE):
            some = self.trial.pixels(self.train[start : start + AT_ONCE]).flatten(1)
            found = (torch.cdist(flat, some) / flat.shape[1] ** 0.5).min(1)
            nearer = found.values < distances
            distances = torch.where(nearer, found.values, distances)
            numbers = torch.where(nearer, found.indices + start, numbers)
        return Nearest(distances, numbers)
