"""Whether a model remembers its training pictures: how near the pictures it makes lie to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

AT_ONCE, AT_ONCE_BYTES = 1024, 2**24  # pictures of either kind in memory: so many, and not more than that


class Nearest(NamedTuple):
    """Of each picture: `distances` [n] to the nearest training picture, root of the mean square, of 1; `numbers` [n] of those."""

    distances: Tensor
    numbers: Tensor


class Memorization:
    """Generated pictures beside all training pictures, which are read once, some at a time.

    `generated`, `real` (test pictures): [n, 3, px, px] in [0, 1]; `pixels` makes such a tensor of a slice of `train`.
    """

    def __init__(
        self, generated: Tensor, real: Tensor, train: Sequence[Any], pixels: Callable[[Sequence[Any]], Tensor]
    ) -> None:
        self.images, self.real_images, self.train, self.pixels = generated, real, train, pixels

    def figures(self) -> dict[str, float]:
        """Medians for generated and for real test pictures. Generated ones that lie much nearer than real ones are copies."""
        generated, real = self.generated.distances, self.real.distances
        return {
            "nearest_training_image": float(generated.median()),
            "nearest_training_image_real_images": float(real.median()),
            "nearer_than_real_images": float((generated < real.quantile(0.05)).float().mean()),
        }

    @property
    def generated(self) -> Nearest:
        return Nearest(*(tensor[: len(self.images)] for tensor in self._both))

    @property
    def real(self) -> Nearest:
        return Nearest(*(tensor[len(self.images) :] for tensor in self._both))

    @cached_property
    def _both(self) -> Nearest:
        ours, real = self.images, self.real_images
        count = len(ours) + len(real)
        distances, numbers = torch.full((count,), torch.inf), torch.zeros(count, dtype=torch.long)
        size = real[0].numel()
        at_once = max(1, min(AT_ONCE, AT_ONCE_BYTES // (4 * size)))
        for start in range(0, len(self.train), at_once):
            some = self.pixels(self.train[start : start + at_once]).flatten(1)
            for first in range(0, count, at_once):
                part = slice(first, min(first + at_once, count))
                some_of = [ours[part], real[max(first - len(ours), 0) : max(part.stop - len(ours), 0)]]
                found = (torch.cdist(torch.cat(some_of).flatten(1), some) / size**0.5).min(1)
                nearer = found.values < distances[part]
                distances[part] = torch.where(nearer, found.values, distances[part])
                numbers[part] = torch.where(nearer, found.indices + start, numbers[part])
        return Nearest(distances, numbers)
