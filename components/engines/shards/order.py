"""The global order of training samples: a pure function of (seed, epoch, step), whatever the number of workers."""

from __future__ import annotations

import numpy as np

from components.engines.base.errors import UsageError
from components.engines.base.seeds import derive


class SampleOrder:
    """Which samples the global batch of each step holds.

    Position `p = step * batch_size + j` belongs to epoch `p // num_samples`, and each epoch is a permutation of all
    samples (of its own, when `shuffle`), so batches straddle epochs and nothing is dropped. There is no state to save:
    a resumed run asks for the step it is at.
    """

    def __init__(self, num_samples: int, batch_size: int, seed: int, shuffle: bool = True) -> None:
        if num_samples < 1 or batch_size < 1:
            raise UsageError(
                f"An order needs samples and a batch size, not num_samples {num_samples} and batch_size {batch_size}",
                do="check the split that is trained on and `batch_size`",
            )
        self.num_samples, self.batch_size, self.seed, self.shuffle = num_samples, batch_size, seed, shuffle
        self._latest: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))  # one epoch's permutation, for speed only

    def step(self, step: int) -> np.ndarray:
        """Sample indices of the global batch of `step` (counted from 0): int64, shape (batch_size,)."""
        if step < 0:
            raise ValueError(f"steps count from 0, not {step}")
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        while position < end:
            epoch, offset = divmod(position, self.num_samples)
            part = self.epoch(epoch)[offset : offset + end - position]
            parts.append(part)
            position += len(part)
        return np.concatenate(parts)

    def for_rank(self, step: int, rank: int, world: int) -> np.ndarray:
        """The part of the global batch that rank `rank` of `world` takes: every world-th index, beginning at its own."""
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not one of {world}")
        return self.step(step)[rank::world]

    def epoch_of(self, step: int) -> int:
        """Epoch of the first sample of the batch."""
        return step * self.batch_size // self.num_samples

    def epoch(self, epoch: int) -> np.ndarray:
        """All samples in the order of one epoch: int64, shape (num_samples,); not to be written to."""
        known, order = self._latest
        if known != epoch:
            order = self._permutation(epoch)
            order.flags.writeable = False
            self._latest = (epoch, order)
        return order

    def _permutation(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.num_samples, dtype=np.int64)
        generator = np.random.Generator(np.random.PCG64(derive(self.seed, "order", epoch)))
        return generator.permutation(self.num_samples).astype(np.int64, copy=False)
