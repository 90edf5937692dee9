"""The map on Ray: an actor per worker, fed from the driver's queue, replaced when it dies.

The only importer of Ray in this engine, and only when a map asks for workers.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.engines.base.allocator import keep_freed_memory
from components.engines.base.errors import StageError, UsageError
from components.engines.shards.line import Job, run_line
from components.engines.shards.manifest import ShardEntry
from components.engines.shards.mapper import Mapper, load_mapper
from components.engines.shards.part import Part, finished_part

log = logging.getLogger("genworks")

_TRIES = 3  # a shard whose worker dies this often is not mapped again
_IN_HAND = 2  # shards per worker, so that its line does not run empty between two


class ShardActor:
    """A worker process: loads the mapper once and keeps one line running. Its methods are called by the driver."""

    def __init__(self, factory: Callable[[], Mapper], src: Path, work: Path) -> None:
        keep_freed_memory()
        self._inbox: queue.SimpleQueue[Job] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(factory, src, work), name="shards-apply", daemon=True).start()

    def _run(self, factory: Callable[[], Mapper], src: Path, work: Path) -> None:
        try:
            mapper = load_mapper(factory)
        except Exception as error:
            self._inbox.get().outcome.set_exception(error)
            return
        try:
            for _ in run_line(mapper, iter(self._inbox.get, None), src, work):
                pass  # each job's outcome tells the driver, also of a failure
        except Exception:
            log.exception("the map stops")

    def ready(self) -> None:
        """Returns once the process is up."""

    def process(self, source: ShardEntry) -> Part:
        job = Job(source)
        self._inbox.put(job)
        return job.outcome.result()


@dataclass
class _Worker:
    actor: Any
    is_up: bool = False
    in_hand: dict[Any, ShardEntry] = field(default_factory=dict)  # by Ray reference


class _Crew:
    """The driver's side: which worker has which shard, and what is left."""

    def __init__(self, ray: Any, start: Callable[[], Any], sources: list[ShardEntry], work: Path) -> None:
        self.ray, self.start, self.work = ray, start, work
        self.left = deque(sources)
        self.deaths: Counter[str] = Counter()  # by shard in hand, "" for workers that died before they were up
        self.workers: list[_Worker] = []
        self.waiting: dict[Any, _Worker] = {}  # by Ray reference

    def run(self, workers: int) -> Iterator[Part]:
        for _ in range(min(workers, len(self.left))):
            self._hire()
        while self.left or any(worker.in_hand for worker in self.workers):
            self._feed()
            (reference,), _ = self.ray.wait(list(self.waiting), num_returns=1)
            worker = self.waiting.pop(reference)
            try:
                part = self.ray.get(reference)
            except self.ray.exceptions.RayActorError as error:
                yield from self._replace(worker, reference, error)
            except self.ray.exceptions.RayTaskError as error:
                raise error.cause from error
            else:
                worker.is_up = True
                if worker.in_hand.pop(reference, None):
                    yield part

    def dismiss(self) -> None:
        for worker in self.workers:
            self.ray.kill(worker.actor)

    def _hire(self) -> None:
        worker = _Worker(self.start())
        self.workers.append(worker)
        self.waiting[worker.actor.ready.remote()] = worker

    def _feed(self) -> None:
        """Fill every hand. A shard whose worker died is handed out alone, so that the next death is its own."""
        for worker in self.workers:
            while self.left and worker.is_up and len(worker.in_hand) < _IN_HAND:
                suspect = self.deaths[self.left[0].name] or any(self.deaths[s.name] for s in worker.in_hand.values())
                if suspect and worker.in_hand:
                    break
                source = self.left.popleft()
                reference = worker.actor.process.remote(source)
                worker.in_hand[reference] = source
                self.waiting[reference] = worker

    def _replace(self, worker: _Worker, reference: Any, error: Exception) -> Iterator[Part]:
        """Put the shards of a dead worker back, except those it had finished but not reported."""
        self.workers.remove(worker)
        self.waiting = {ref: other for ref, other in self.waiting.items() if other is not worker}
        for source in reversed(worker.in_hand.values()):
            part = finished_part(self.work, source)
            if part is not None:
                yield part
                continue
            self._count_death(source.name, error)
            self.left.appendleft(source)
        if not worker.is_up:
            self._count_death("", error)
        self._hire()

    def _count_death(self, shard: str, error: Exception) -> None:
        self.deaths[shard] += 1
        if self.deaths[shard] >= _TRIES:
            raise StageError(
                f"A map worker died {_TRIES} times" + (" on the same shard" if shard else " before it was up"),
                where=f"shard {shard}" if shard else "Ray",
                do="look for a lack of memory (fewer workers, a smaller batch_size) or a crash in native code; finished "
                "shards are kept. Ray says: " + " ".join(str(error).split()),
            ) from error


def run_on_ray(
    factory: Callable[[], Mapper],
    sources: list[ShardEntry],
    src: Path,
    work: Path,
    *,
    workers: int,
    resources: dict[str, float] | None,
) -> Iterator[Part]:
    """Map the sources by `workers` actors, each holding `resources` (default one CPU), yielding parts as they finish.

    Raises what the mapper raises, with shard and sample; StageError if a shard's worker keeps dying.
    """
    wanted = dict(resources or {"CPU": 1})
    with _cluster(workers, wanted) as ray:
        options = {"num_cpus": wanted.pop("CPU", 0), "num_gpus": wanted.pop("GPU", 0), "resources": wanted}
        # twice the shards in hand: threads of the actor that wait for outcomes must not keep `ready` waiting
        kind = ray.remote(max_concurrency=2 * _IN_HAND, max_restarts=0, **options)(ShardActor)
        packed = ray.put(factory)
        crew = _Crew(ray, lambda: kind.remote(packed, src.resolve(), work.resolve()), sources, work)
        try:
            yield from crew.run(workers)
        finally:
            crew.dismiss()


@contextmanager
def _cluster(workers: int, wanted: dict[str, float]) -> Iterator[Any]:
    """Ray as it already runs in this process, else the cluster at RAY_ADDRESS, else one of our own for this map."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == "local":
        # more workers than cores is the user's choice; without this the surplus would wait for ever
        quiet |= {"num_cpus": max(os.cpu_count() or 1, round(workers * wanted.get("CPU", 0) + 0.5))}
        quiet |= {"include_dashboard": False}
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise StageError(
            f"Ray does not start: {error}", where=f"RAY_ADDRESS {address}", do="check RAY_ADDRESS, or use workers: 0"
        ) from error
    try:
        if address == "local":
            _check_resources(ray, workers, wanted)
        yield ray
    finally:
        ray.shutdown()


def _check_resources(ray: Any, workers: int, wanted: dict[str, float]) -> None:
    has = ray.cluster_resources()
    for name, amount in wanted.items():
        if workers * amount > has.get(name, 0):
            raise UsageError(
                f"{workers} workers with {amount:g} {name} each need more than this machine's {has.get(name, 0):g}",
                where="resources of the map",
                do="ask for fewer workers or less, or set RAY_ADDRESS to a cluster that has it",
            )
