"""Checkpoints written while training goes on: a copy of the state now, the writing in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.staging import BlockingAsyncStager

from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.store import Groups
from components.engines.training.faults.hanging import close_group, cpu_group
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training


class BackgroundWriter:
    """Writes at most one checkpoint at a time. Every rank has one and calls its methods at the same steps."""

    def __init__(self, root: Path, training: Training, ranks: Ranks) -> None:
        self.root, self.training, self.device = root, training, ranks.device
        self.processes = cpu_group(training, ranks) if ranks.world > 1 else None
        self.is_first = ranks.is_first
        self.thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    def save(self, step: int, groups: Groups, state: dict[str, Any], keep: Iterable[int | None]) -> None:
        """Save this step. What fails in the thread is raised by the next call of `save` or `wait`."""
        self.wait()
        if not self.training.async_checkpoints:
            self._write(step, groups, state, keep)
            return
        copy = {
            group: {name: self._copied(tensor) for name, tensor in tensors.items()} for group, tensors in groups.items()
        }
        self.thread = threading.Thread(target=self._write_aside, args=(step, copy, state, keep), name="checkpoint")
        self.thread.start()

    def wait(self) -> None:
        """Return when nothing is being written; raises what the last writing failed with."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def close(self) -> None:
        """Wait, and be done. Raises as `wait` does."""
        try:
            self.wait()
        finally:
            if self.processes is not None:
                close_group(self.processes)

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cpu":
            return tensor.detach().clone()
        return BlockingAsyncStager(cache_staged_state_dict=False).stage({"": tensor.detach()})[""]

    def _write_aside(self, *arguments: Any) -> None:
        try:
            self._write(*arguments)
        except BaseException as error:  # handed to the training, which raises it
            self.failure = error

    def _write(self, step: int, groups: Groups, state: dict[str, Any], keep: Iterable[int | None]) -> None:
        store.save(self.root, step, groups, state, self.processes)
        if self.is_first:
            store.prune(self.root, self.training.keep_checkpoints, keep)
