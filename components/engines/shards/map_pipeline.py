"""The production line of one map worker: decode, apply and write at the same time, across shards.

Decoding runs ahead in one thread and writing behind in another, both bounded, while the caller's thread holds the mapper. The
line does not run empty between shards: the next one is decoded while the last batch of this one is applied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from components.engines.base.errors import BadRecord, GenworksError
from components.engines.shards.manifest import ShardEntry
from components.engines.shards.mapped_shard import MappedShard, MappedShardWriter
from components.engines.shards.mapper import Mapper, Rejected, answers, blame
from components.engines.shards.reader import ShardFile
from components.engines.shards.tar import Sample

_AHEAD = 3  # decoded batches waiting for the mapper, and answered ones waiting for the disk

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """An input shard to be mapped; `outcome` receives its MappedShard, or the exception that stopped it."""

    source: ShardEntry
    outcome: Future[MappedShard] = field(default_factory=Future)

    @contextmanager
    def watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self.outcome.done():
                self.outcome.set_exception(error)
            raise


@dataclass
class Batch:
    """Decoded items of one shard in order, and the samples on the way that could not be decoded."""

    job: Job
    last: bool = False
    keys: list[str] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    bad: list[tuple[Sample, BadRecord]] = field(default_factory=list)


def run_map_pipeline(mapper: Mapper, jobs: Iterator[Job], src: Path, work: Path) -> Iterator[MappedShard]:
    """Map every job's shard of `src` into `work`, yielding parts as they are finished, in order.

    Raises the first failure, after which nothing half-written is left; finished parts stay.
    """
    output = _Output(work)
    with _thread("decode") as decoder, _thread("write") as writer:
        try:
            writes = _run_behind(writer, _applied(mapper, decoder, jobs, src, output))
            yield from (part for part in writes if part is not None)
        finally:
            writer.submit(output.discard).result()


def _applied(
    mapper: Mapper, decoder: ThreadPoolExecutor, jobs: Iterator[Job], src: Path, output: _Output
) -> Iterator[Callable[[], MappedShard | None]]:
    """The write that each batch asks for, once the mapper has answered it."""
    for batch in _run_ahead(decoder, _decoded(mapper, jobs, src)):
        with batch.job.watched():
            given = answers(mapper, batch.job.source.name, batch.keys, batch.items) if batch.items else ()
        yield partial(output.write, batch, given)


def _decoded(mapper: Mapper, jobs: Iterator[Job], src: Path) -> Iterator[Batch]:
    for job in jobs:
        with job.watched():
            yield from _batches(mapper, job, ShardFile(src / job.source.name, job.source))


def _batches(mapper: Mapper, job: Job, shard: ShardFile) -> Iterator[Batch]:
    batch = Batch(job)
    for sample in shard:
        if len(batch.items) == mapper.batch_size:
            yield batch
            batch = Batch(job)
        key = sample["__key__"]
        try:
            with blame(f"shard {job.source.name}, sample {key}", passing=BadRecord):
                item = mapper.decode(sample)
        except BadRecord as bad:
            batch.bad.append((sample, bad))
        else:
            batch.keys.append(key)
            batch.items.append(item)
    batch.last = True
    yield batch


class _Output:
    """The part being written; touched by the writing thread only."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.part: MappedShardWriter | None = None
        self.failed = False

    def write(self, batch: Batch, given: Sequence[Sample | Rejected]) -> MappedShard | None:
        """Write a batch; the finished MappedShard if it was its shard's last."""
        if self.failed:  # writes that were already under way when one failed must not complete its shard
            return None
        try:
            with batch.job.watched(), blame(f"shard {batch.job.source.name}", passing=(GenworksError, OSError)):
                finished = self._write(batch, given)
        except Exception:
            self.failed = True
            raise
        if finished is not None:
            batch.job.outcome.set_result(finished)
        return finished

    def _write(self, batch: Batch, given: Sequence[Sample | Rejected]) -> MappedShard | None:
        if self.part is None:
            self.part = MappedShardWriter(self.work, batch.job.source)
        for sample, bad in batch.bad:
            self.part.quarantine(sample, bad)
        for answer in given:
            self.part.write(answer)
        if not batch.last:
            return None
        finished, self.part = self.part.finish(), None
        return finished

    def discard(self) -> None:
        if self.part is not None:
            self.part.discard()


@contextmanager
def _thread(name: str) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(1, thread_name_prefix=f"shards-{name}")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_END: Any = object()


def _run_ahead(thread: ThreadPoolExecutor, values: Iterator[T]) -> Iterator[T]:
    """The same values, computed up to `_AHEAD` early by one thread."""
    waiting: deque[Future[T]] = deque(thread.submit(next, values, _END) for _ in range(_AHEAD))
    while (value := waiting.popleft().result()) is not _END:
        waiting.append(thread.submit(next, values, _END))
        yield value


def _run_behind(thread: ThreadPoolExecutor, calls: Iterator[Callable[[], T]]) -> Iterator[T]:
    """The results of the calls, made in order by one thread, at most `_AHEAD` of them outstanding."""
    waiting: deque[Future[T]] = deque()
    for call in calls:
        waiting.append(thread.submit(call))
        while waiting and (waiting[0].done() or len(waiting) > _AHEAD):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
