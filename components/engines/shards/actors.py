"""The map on Ray: an actor per worker, fed from the driver's queue, replaced when it dies.

Imported, and Ray with it, only when a map asks for workers.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import cluster
from components.engines.base.allocator import keep_freed_memory
from components.engines.base.errors import StageError
from components.engines.shards.manifest import ShardEntry
from components.engines.shards.map_pipeline import Job, run_map_pipeline
from components.engines.shards.mapped_shard import MappedShard, finished_shard
from components.engines.shards.mapper import Mapper, load_mapper

log = logging.getLogger("genworks")

WHERE = "resources of the map"

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
            for _ in run_map_pipeline(mapper, iter(self._inbox.get, None), src, work):
                pass  # each job's outcome tells the driver, also of a failure
        except Exception:
            log.exception("the map stops")

    def ready(self) -> None:
        """Returns once the process is up."""

    def process(self, source: ShardEntry) -> MappedShard:
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

    def __init__(
        self,
        ray: Any,
        start: Callable[[], Any],
        sources: list[ShardEntry],
        work: Path,
        patience: Callable[[], cluster.Waiting],
    ) -> None:
        self.ray, self.start, self.work, self.patience = ray, start, work, patience
        self.left = deque(sources)
        self.deaths: Counter[str] = Counter()  # by shard in hand, "" for workers that died before they were up
        self.workers: list[_Worker] = []
        self.waiting: dict[Any, _Worker] = {}  # by Ray reference

    def run(self, workers: int) -> Iterator[MappedShard]:
        for _ in range(workers):
            self._hire()
        while self.left or any(worker.in_hand for worker in self.workers):
            self._feed()
            reference = self._next()
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

    def _next(self) -> Any:
        """The next answer. Where no worker is up, which may be for want of room, it is waited for so long only."""
        patience = self.patience()
        while True:
            served = any(worker.is_up for worker in self.workers)
            done, _ = self.ray.wait(list(self.waiting), num_returns=1, timeout=None if served else patience.pause)
            if done:
                return done[0]
            patience.go_on()

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

    def _replace(self, worker: _Worker, reference: Any, error: Exception) -> Iterator[MappedShard]:
        """Put the shards of a dead worker back, except those it had finished but not reported."""
        self.workers.remove(worker)
        self.waiting = {ref: other for ref, other in self.waiting.items() if other is not worker}
        for source in reversed(worker.in_hand.values()):
            part = finished_shard(self.work, source)
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
    resources: dict[str, Any] | None,
    resources_timeout_s: float,
) -> Iterator[MappedShard]:
    """Map the sources by `workers` actors, each holding `resources` (default one CPU), yielding parts as they finish.

    Raises what the mapper raises, with shard and sample; UsageError for what the cluster can never hold; StageError if a
    shard's worker keeps dying, or if there is room for none of them within `resources_timeout_s`.
    """
    asked = dict(resources or {"CPU": 1})
    workers = min(workers, len(sources))
    with cluster.joined(cpus=workers * float(asked.get("CPU", 0))) as ray:
        gpus = asked.pop("GPU", 0)
        gpus = cluster.share_of_gpus(ray, workers) if gpus == "auto" else float(gpus)
        bundle = {**{name: float(amount) for name, amount in asked.items()}, "GPU": gpus}
        cluster.require(ray, workers, bundle, WHERE)
        log.info("Mapping by %d workers on %s, each with %s", workers, cluster.name(), cluster.words(bundle))
        others = {name: amount for name, amount in bundle.items() if name not in {"CPU", "GPU"}}
        options = {"num_cpus": bundle.get("CPU", 0), "num_gpus": gpus, "resources": others}
        # twice the shards in hand: threads of the actor that wait for outcomes must not keep `ready` waiting
        kind = ray.remote(max_concurrency=2 * _IN_HAND, max_restarts=0, **options)(ShardActor)
        packed = ray.put(factory)
        patience = partial(
            cluster.Waiting, ray, f"a map worker with {cluster.words(bundle)}", resources_timeout_s, WHERE
        )
        crew = _Crew(ray, lambda: kind.remote(packed, src.resolve(), work.resolve()), sources, work, patience)
        try:
            yield from crew.run(workers)
        finally:
            crew.dismiss()
