"""The toy language model with one fault: on one rank, when its loss is called for the `at`-th time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch.distributed as dist
from torch import Tensor
from toy_language_model import ToyLanguageModel

from components.engines.training.task import Batch, Task


class FaultyLanguageModel(ToyLanguageModel):
    def __init__(self, fault: str, at: int, rank: int, pause: float, pids: str) -> None:
        super().__init__(16, 0.1, 50, pause)
        self.fault, self.at, self.calls = fault, at, 0
        own = dist.get_rank() if dist.is_initialized() else 0
        self.strikes = own == rank
        if pids:  # so that a test can find this process
            (Path(pids) / f"{own}-{os.getpid()}").touch()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, sums = super().loss(batch)
        self.calls += self.model.training
        if not (self.strikes and self.model.training and self.calls == self.at):
            return loss, sums
        match self.fault:
            case "SIGTERM" | "SIGINT" | "SIGKILL":
                os.kill(os.getpid(), signal.Signals[self.fault])
            case "both signals":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(2.5)
                os.kill(os.getpid(), signal.SIGINT)
            case "no group":  # as Ray closes it when another worker is lost
                dist.destroy_process_group()
            case "hang":
                time.sleep(10_000)
            case "nan":
                loss = loss * float("nan")
        return loss, sums


def make_task(fault: str = "", at: int = 0, rank: int = 0, pause: float = 0.0, pids: str = "") -> Task:
    return FaultyLanguageModel(fault, at, rank, pause, pids)
