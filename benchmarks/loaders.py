"""Steps per second with two loader processes against none, where a sample takes 5 ms to decode.

`waits` decodes as a network or a disk does (no CPU), `computes` as a JPEG does: on two cores, two processes beside the training
cannot be twice as fast as one thread. The first row, in which processes start, does not count.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.turnstile import torch_threads
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from components.engines.training.task import Batch, Task, Turn

DECODE_SECONDS, STEPS, WARM_STEPS, BATCH = 0.005, 60, 20, 16
BAR = 1.6

Decode = Literal["waits", "computes"]


class SlowRecords(Task):
    def __init__(self, decode: Decode) -> None:
        self.network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.modules = {"network": self.network}
        self.turns = [Turn("network", self.loss, list(self.network.parameters()), len_of)]
        self.num_samples, self.decode = 256, decode

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        for _ in indices:
            if self.decode == "waits":
                time.sleep(DECODE_SECONDS)
                continue
            end = time.thread_time() + DECODE_SECONDS
            while time.thread_time() < end:
                pass
        return {"x": torch.from_numpy(np.repeat(indices[:, None], 64, axis=1) / self.num_samples).float()}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.network(batch["x"]).square().sum(), {}

    def score(self) -> dict[str, float]:
        return {}


def len_of(batch: Batch) -> int:
    return len(batch["x"])


class Seconds:
    """Hears how long a step takes."""

    def __init__(self) -> None:
        self.rows: list[float] = []

    def log(self, step: int, figures: dict[str, float]) -> None:
        if step > WARM_STEPS:
            self.rows.append(figures["seconds_step"])

    def close(self) -> None: ...


def steps_per_second(decode: Decode, workers: int) -> float:
    settings = Training(
        max_steps=STEPS, batch_size=BATCH, learning_rate=1e-3, log_every=WARM_STEPS, loader_workers=workers
    )
    heard = Seconds()
    with tempfile.TemporaryDirectory() as work, torch_threads(1):
        ranks = Ranks.single(torch.device("cpu"))
        fit(partial(SlowRecords, decode), settings, work=Path(work), ranks=ranks, observer=heard)
    return 1 / statistics.mean(heard.rows)


def run(repeats: int) -> list[dict[str, Any]]:
    rows = []
    decodes: tuple[Decode, ...] = ("waits", "computes")
    for decode in decodes:
        pairs = [(steps_per_second(decode, 2), steps_per_second(decode, 0)) for _ in range(repeats)]
        ratios = [two / none for two, none in pairs]
        rows.append(
            {
                "name": f"loader_workers 2 ÷ 0, a decode of 5 ms that {decode} (steps/s)",
                "ours": statistics.median(two for two, _ in pairs),
                "theirs": statistics.median(none for _, none in pairs),
                "ratio": statistics.median(ratios),
                "range": [min(ratios), max(ratios)],
                "bar": BAR if decode == "waits" else None,
            }
        )
    return rows
