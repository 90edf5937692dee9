"""The batches of each step, made ahead in a thread so that collating overlaps the step before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import torch

from components.engines.base.errors import GenworksError, StageError
from components.engines.base.seeds import derive
from components.engines.shards.order import SampleOrder
from components.engines.training.collate import STEPS_AHEAD, Collate, collated
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training, micro_batch_size
from components.engines.training.task import Batch, Task, rolls_out


@dataclass(frozen=True)
class StepBatches:
    """One rank's micro-batches of one step, per turn the weight units they hold (none yet before a rollout), and their tokens."""

    step: int
    micro_batches: list[Batch]
    weights: list[int]
    tokens: int | None  # in all of them, if the task counts tokens


def sample_order(task: Task, training: Training) -> SampleOrder:
    return SampleOrder(task.num_samples, training.batch_size, derive(training.seed, "order"))


def finished_step(task: Task, ranks: Ranks, step: int, batches: list[Batch]) -> StepBatches:
    """A step's batches with what is counted of them, ready for the device."""
    weights = [] if rolls_out(task) else count_weights(task, batches)
    tokens = [count for count in map(task.count_tokens, batches) if count is not None]
    if ranks.device.type == "cuda":
        batches = [{name: tensor.pin_memory() for name, tensor in batch.items()} for batch in batches]
    return StepBatches(step, batches, weights, sum(tokens) if tokens else None)


def count_weights(task: Task, batches: list[Batch]) -> list[int]:
    return [sum(int(turn.weight(batch)) for batch in batches) for turn in task.turns]


class StepStream:
    """Steps `first` … `max_steps - 1` in order, at most STEPS_AHEAD early, made by a thread or, for it, by loader processes.

    A context manager. An error of `task.batch` surfaces at the step it belongs to, with its place.
    """

    def __init__(self, task: Task, training: Training, ranks: Ranks, first: int) -> None:
        micro_batch_size(training, ranks.world)
        self.steps = range(first, training.max_steps)
        self.task, self.ranks, self.workers = task, ranks, training.loader_workers
        order = sample_order(task, training)
        self.collate = Collate(task, order, training.accumulation_steps, ranks.data_rank, ranks.data_world)
        self.ready: queue.Queue[StepBatches | BaseException] = queue.Queue(maxsize=STEPS_AHEAD)
        self.single, self.closed = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._fill, name="batches", daemon=True)

    def __enter__(self) -> StepStream:
        threads = torch.get_num_threads()
        self.thread.start()
        self.single.wait()
        torch.set_num_threads(threads)  # this thread kept its own; the default for further threads is put back
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        while self.thread.is_alive():  # a full queue would keep the thread waiting
            self._drain()
            self.thread.join(timeout=0.05)

    def __iter__(self) -> Iterator[StepBatches]:
        for step in self.steps:
            item = self.ready.get()
            if isinstance(item, BaseException):
                raise item
            if item.step != step:
                raise StageError(f"Step {step} was handed the batch of step {item.step}", do="report this: it is a bug")
            yield item

    def _fill(self) -> None:
        # OpenMP gives every thread a team of its own, whose idle members spin: collating must not start a second one.
        torch.set_num_threads(1)
        self.single.set()
        with closing(collated(self.collate, self.steps, self.workers)) as made:
            for step in self.steps:
                item = self._next(step, made)
                while not self.closed.is_set():
                    try:
                        self.ready.put(item, timeout=0.5)
                        break
                    except queue.Full:
                        continue
                if self.closed.is_set() or isinstance(item, BaseException):
                    return

    def _next(self, step: int, made: Iterator[list[Batch] | GenworksError]) -> StepBatches | BaseException:
        """What fails is handed to the loop, which raises it."""
        try:
            batches = next(made)
            return batches if isinstance(batches, Exception) else finished_step(self.task, self.ranks, step, batches)
        except BaseException as error:
            return error

    def _drain(self) -> None:
        while not self.ready.empty():
            self.ready.get_nowait()


def to_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
