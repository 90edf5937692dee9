"""The batches of each step, made ahead in a thread so that collating overlaps the step before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from components.engines.base.errors import StageError
from components.engines.base.seeds import derive
from components.engines.shards.order import SampleOrder
from components.engines.training.params import Training, micro_batch_size
from components.engines.training.ranks import Ranks
from components.engines.training.task import Batch, Task, rolls_out

STEPS_AHEAD = 2


@dataclass(frozen=True)
class StepBatches:
    """One rank's micro-batches of one step, per turn the weight units they hold (none yet before a rollout), and their tokens."""

    step: int
    micro_batches: list[Batch]
    weights: list[int]
    tokens: int | None  # in all of them, if the task counts tokens


def micro_indices(indices: np.ndarray, *, accumulation_steps: int, rank: int, world: int) -> list[np.ndarray]:
    """This rank's share of a global batch: micro-batch j is piece j · world + rank of equal consecutive pieces."""
    pieces = np.split(indices, accumulation_steps * world)
    return pieces[rank::world]


def make_step(
    task: Task, training: Training, order: SampleOrder, ranks: Ranks, step: int, skipped: int = 0
) -> StepBatches:
    """Collate one step, its data `skipped` steps ahead; a pure function of params, data, rank and the two."""
    shares = micro_indices(
        order.step(step + skipped),
        accumulation_steps=training.accumulation_steps,
        rank=ranks.data_rank,
        world=ranks.data_world,
    )
    epoch = int(order.epoch_of(step + skipped))
    batches = [task.batch(indices, epoch) for indices in shares]
    weights = [] if rolls_out(task) else count_weights(task, batches)
    tokens = [count for count in map(task.count_tokens, batches) if count is not None]
    if ranks.device.type == "cuda":
        batches = [{name: tensor.pin_memory() for name, tensor in batch.items()} for batch in batches]
    return StepBatches(step, batches, weights, sum(tokens) if tokens else None)


def count_weights(task: Task, batches: list[Batch]) -> list[int]:
    return [sum(int(turn.weight(batch)) for batch in batches) for turn in task.turns]


class StepStream:
    """Steps `first` … `max_steps - 1` in order, made by a thread at most STEPS_AHEAD early. A context manager.

    An error of `task.batch` surfaces at the step it belongs to, not before.
    """

    def __init__(self, task: Task, training: Training, ranks: Ranks, first: int, skipped: int = 0) -> None:
        micro_batch_size(training, ranks.world)
        self.steps = range(first, training.max_steps)
        order = SampleOrder(task.num_samples, training.batch_size, derive(training.seed, "order"))
        self.make = lambda step: make_step(task, training, order, ranks, step, skipped)
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
        for step in self.steps:
            try:
                made: StepBatches | BaseException = self.make(step)
            except BaseException as error:  # handed to the loop, which raises it
                made = error
            while not self.closed.is_set():
                try:
                    self.ready.put(made, timeout=0.5)
                    break
                except queue.Full:
                    continue
            if self.closed.is_set() or isinstance(made, BaseException):
                return

    def _drain(self) -> None:
        while not self.ready.empty():
            self.ready.get_nowait()


def to_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
