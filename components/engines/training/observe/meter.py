"""Speed and memory of a run: rates, MFU and peak memory, for the observer and the terminal, never for an output."""

from __future__ import annotations

import logging
import random
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.engines.base.watching import Nothing, watching
from components.engines.training.observe.clock import clock_for, timed_backward
from components.engines.training.observe.flops import ModelFlops, is_compiled
from components.engines.training.observe.peaks import peak_flops
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from components.engines.training.precision import autocast
from components.engines.training.task import Batch, Task, Turn

log = logging.getLogger("genworks")


class Unmetered(Nothing):
    """What is left of a meter where nothing is measured."""

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def read(self) -> dict[str, float]:
        return {}


@watching(instead=Unmetered)
class Meter:
    """Watches the steps of one rank.

    MFU (model FLOPs utilisation) is FLOPs of a step over its seconds and the device's peak. The FLOPs (flops.py) are those of the
    first step that this process takes, and of one in which another turn begins; of all turns and micro-batches of this rank: with
    samples of different lengths the figure holds on average. Steps' seconds are without scoring and checkpoints.
    """

    def __init__(self, task: Task, training: Training, ranks: Ranks) -> None:
        self.task, self.training, self.ranks = task, training, ranks
        self.clock = clock_for(ranks.device, events=training.fast)
        self.peak = peak_flops(training, ranks.device)
        self.step_flops = 0
        self.count_flops()
        self.tokens: int | None = None
        if self.peak is None and ranks.is_first and ranks.device.type == "cuda":  # on a CPU nobody waits for it
            name = torch.cuda.get_device_name(ranks.device)
            log.info("No MFU is shown: the peak of %s is not known (training.peak_tflops: a number, or measure)", name)

    def count_flops(self) -> None:
        """Count those of the next step."""
        # sharded tensors count themselves twice or not at all
        counted = self.peak is not None and not self.training.layout.splits_networks
        self.counter = ModelFlops() if counted else None

    @contextmanager
    def forward(self, turn: Turn, loss: Any, batch: Batch) -> Iterator[None]:
        """Around a forward pass of `loss`, which is the turn's own or stands for it; in the first step FLOPs are counted."""
        counter = self.counter
        if counter is not None and is_compiled(loss, self.task.modules.values()):
            self._count_apart(turn, batch, counter)
            counter = None
        with self.clock.part("forward"), counter or nullcontext():
            yield

    def _count_apart(self, turn: Turn, batch: Batch, counter: ModelFlops) -> None:
        """Count on a pass of its own, uncompiled; buffers and draws are put back.

        Without the stance, torch.compile would not only step aside under the counter but leave these frames uncompiled for good.
        """
        roots = [*self.task.modules.values(), *self.task.frozen.values()]
        kept = [(buffer, buffer.clone()) for root in roots for buffer in root.buffers()]
        devices = [self.ranks.device] if self.ranks.device.type == "cuda" else []
        draws = random.getstate(), np.random.get_state()
        eager = torch.compiler.set_stance("force_eager")
        with torch.random.fork_rng(devices), eager, autocast(self.training, self.ranks.device), counter:
            turn.loss(batch)
        random.setstate(draws[0])
        np.random.set_state(draws[1])
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)

    def backward(self, loss: Tensor) -> None:
        timed_backward(loss, self.clock, ranks=self.ranks.world)

    def end_step(self, tokens: int | None) -> None:
        """`tokens` are those of this rank's share of the step, None where the task does not count them."""
        self.clock.steps += 1
        if tokens is not None:
            self.tokens = (self.tokens or 0) + tokens
        if self.counter is not None:
            self.step_flops, self.counter = self.counter.total, None

    def read(self) -> dict[str, float]:
        """Figures per step since the last reading; starts over. Tokens are this rank's times the ranks: shares are random."""
        steps = max(self.clock.steps, 1)
        figures, seconds = self.clock.read()
        figures["seconds_step"] = seconds
        figures["samples_per_second"] = self.training.batch_size / seconds
        if self.tokens is not None:
            figures["tokens_per_second"] = self.tokens * self.ranks.data_world / steps / seconds
        if self.peak is not None and self.step_flops:
            figures["mfu"] = self.step_flops / seconds / self.peak
        figures["peak_memory_mb"] = peak_memory(self.ranks.device) / 1e6
        self.tokens = None
        return figures


@watching(instead=lambda row, figures: {})
def shown(row: dict[str, float], figures: dict[str, float]) -> dict[str, Any]:
    """What the terminal shows beside the progress: losses, speed, MFU, memory."""
    words: dict[str, Any] = {name: float(f"{value:.4g}") for name, value in row.items() if name.endswith("loss")}
    words["samples/s"] = float(f"{figures['samples_per_second']:.3g}")
    if "tokens_per_second" in figures:
        words["tokens/s"] = float(f"{figures['tokens_per_second']:.3g}")
    if "mfu" in figures:
        words["mfu"] = f"{figures['mfu']:.1%}"
    return words | {"memory": f"{figures['peak_memory_mb'] / 1000:.2f} GB"}


def peak_memory(device: torch.device) -> int:
    """The most bytes this process has held so far: of the GPU as its allocator counts them, else resident in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts bytes, Linux KiB
