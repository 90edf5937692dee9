"""Exponential moving average of the weights: a second copy that is scored and shipped instead of the last one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from components.engines.training.checkpoints.weights import Tensors
from components.engines.training.parallel.gradients import local


def decay_at(decay: float, step: int) -> float:
    """min(decay, (1 + t) / (10 + t)): early averages forget the random start (TensorFlow's `num_updates` rule)."""
    return min(decay, (1 + step) / (10 + step))


class Ema:
    """Averages every floating tensor of these (buffers too), which are the networks' own; other tensors are copied."""

    def __init__(self, live: dict[str, Tensors], decay: float) -> None:
        self.decay, self.live = decay, live
        self.shadow = {name: {k: v.clone() for k, v in tensors.items()} for name, tensors in self.live.items()}
        pairs = [
            (local(self.shadow[name][k]), local(v)) for name, tensors in self.live.items() for k, v in tensors.items()
        ]
        self.averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self.copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """shadow += (1 - decay) · (live - shadow), after step `step` (from 0)."""
        shadows, lives = [pair[0] for pair in self.averaged], [pair[1] for pair in self.averaged]
        torch._foreach_lerp_(shadows, lives, 1 - decay_at(self.decay, step))
        for shadow, live in self.copied:
            shadow.copy_(live)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The modules hold the averaged weights inside, and exactly their own again after."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for shadow, live in [*self.averaged, *self.copied]:
            kept: Tensor = live.clone()
            live.copy_(shadow)
            shadow.copy_(kept)
