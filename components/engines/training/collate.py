"""The micro-batches of a step, made in this process or by loader processes: the same ones, in the order of the steps."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import signal
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from components.engines.base.errors import GenworksError, StageError, Transient, UsageError
from components.engines.base.work import die_with_parent
from components.engines.shards.order import SampleOrder
from components.engines.training.faults.failures import may_pass
from components.engines.training.task import Batch, Task

STEPS_AHEAD = 2  # of each loader process


def micro_indices(indices: np.ndarray, *, accumulation_steps: int, rank: int, world: int) -> list[np.ndarray]:
    """This rank's share of a global batch: micro-batch j is piece j · world + rank of equal consecutive pieces."""
    pieces = np.split(indices, accumulation_steps * world)
    return pieces[rank::world]


@dataclass(frozen=True)
class Collate:
    """Makes one rank's micro-batches of a step: a pure function of its number, in whatever process."""

    task: Task
    order: SampleOrder
    accumulation_steps: int
    rank: int
    world: int

    def __call__(self, step: int) -> list[Batch] | GenworksError:
        """The batches, or what went wrong, with its place: it is raised at the step it belongs to."""
        epoch = int(self.order.epoch_of(step))
        shares = micro_indices(
            self.order.step(step), accumulation_steps=self.accumulation_steps, rank=self.rank, world=self.world
        )
        batches = []
        for share in shares:
            try:
                batches.append(self.task.batch(share, epoch))
            except Exception as error:
                return _placed(error, f"step {step + 1}, {self._culprit(share, epoch)}")
        return batches

    def _culprit(self, share: np.ndarray, epoch: int) -> str:
        """The first sample that fails alone; a batch that fails only as a whole is named by its samples."""
        for index in share:
            try:
                self.task.batch(np.array([index]), epoch)
            except Exception:
                return f"sample {index}"
        return f"samples {', '.join(map(str, share))}"


def _placed(error: Exception, place: str) -> GenworksError:
    if isinstance(error, GenworksError):
        return type(error)(error.what, where=", ".join(filter(None, (place, error.where))), do=error.do)
    kind = Transient if may_pass(error) else StageError
    return kind(
        f"A batch cannot be made: {type(error).__name__}: {error}",
        where=place,
        do="look at that record (numbers count through the split that is trained on)",
    )


def collated(collate: Collate, steps: range, workers: int) -> Generator[list[Batch] | GenworksError]:
    """What `collate` makes of each step, in order; by `workers` processes, which end when the iterator is closed."""
    if workers == 0:
        yield from map(collate, steps)
        return
    loader = DataLoader(
        _Sent(collate),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context="spawn",  # a fork would inherit threads' locks and the GPU
        worker_init_fn=_begin,
        prefetch_factor=STEPS_AHEAD,
        generator=torch.Generator(),  # its draw must not be one of the training's
    )
    processes: list[Any] = []
    try:
        batches = iter(loader)
        processes = multiprocessing.active_children()
        yield from batches
    except RuntimeError as error:
        ended = sorted({process.exitcode for process in processes if process.exitcode})
        raise Transient(
            f"A loader process died (exit code {', '.join(map(str, ended)) or 'unknown'}): {str(error).splitlines()[0]}",
            where="training.loader_workers",
            do="look for a lack of memory (also of /dev/shm) or a crash in native code, and run again: it goes on from the last "
            "checkpoint",
        ) from error


def _as_it_is(made: Any) -> Any:
    return made


def _begin(_: int) -> None:
    """Signals to stop are the trainer's to hear: it saves its step first, and needs batches until then."""
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Sent(Dataset):
    """`collate` as it travels to a loader process: with the task's data, without its networks."""

    def __init__(self, collate: Collate) -> None:
        task = copy.copy(collate.task)
        task.modules, task.frozen, task.turns, task.blocks = {}, {}, [], None
        packed = io.BytesIO()
        try:
            _WithoutNetworks(packed).dump(replace(collate, task=task))
        except Exception as error:
            raise UsageError(
                f"{type(task).__name__} cannot be sent to loader processes: {type(error).__name__}: {error}",
                where="training.loader_workers",
                do="set it to 0, or keep open files, locks and generators out of the task",
            ) from error
        self.packed = packed.getvalue()
        self.collate: Collate | None = None

    def __getitem__(self, step: int) -> list[Batch] | GenworksError:
        if self.collate is None:
            self.collate = pickle.loads(self.packed)  # noqa: S301  # the parent's own bytes
        return self.collate(step)


class _WithoutNetworks(cloudpickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return _Absent, (type(value).__name__, getattr(value, "config", None))
        return super().reducer_override(value)


class _Absent:
    """Stands for a network in a loader process, where batches may ask for its config (sizes, special tokens) alone."""

    def __init__(self, kind: str, config: Any) -> None:
        self._kind, self.config = kind, config

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UsageError(
            f"Task.batch uses a {self._kind} ({name}), and loader processes have no networks",
            where="training.loader_workers",
            do="set it to 0, or use networks in Turn.loss alone",
        )

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self.__getattr__("forward")
