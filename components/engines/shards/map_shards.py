"""The resumable parallel map: the one way to run a model over shards.

    map_shards(lambda: Captioner(params), src, dst, work=context.work, workers=params.workers)

A worker loads the mapper once and takes shards as it can. Each output shard is written under `work` and marked done
last; killed at any point, the next run with the same `work` redoes only unfinished shards and gives the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from components.engines.base.cluster import RESOURCES_TIMEOUT_S
from components.engines.base.errors import StageError, UsageError
from components.engines.base.evidence import Reread
from components.engines.base.funnel import Funnel
from components.engines.base.paths import atomic_write, each_of_jsonl, remove
from components.engines.base.progress import Progress
from components.engines.shards.manifest import MANIFEST, Manifest, ShardEntry, read_manifest, write_manifest
from components.engines.shards.map_pipeline import Job, run_map_pipeline
from components.engines.shards.mapped_shard import ATTEMPTS, REFUSED, MappedShard, finished_shard, refused_path
from components.engines.shards.mapper import Mapper, Rejected, load_mapper

__all__ = ["Mapper", "Rejected", "Resources", "map_shards"]

Resources = dict[str, float | Literal["auto"]]


def map_shards(
    mapper: Callable[[], Mapper],
    src: Path,
    dst: Path,
    *,
    work: Path,
    workers: int = 0,
    resources: Resources | None = None,
    resources_timeout_s: float = RESOURCES_TIMEOUT_S,
    max_bad_fraction: float = 0.1,
) -> Manifest:
    """Map every shard of `src` to a shard of the same name in `dst`; returns the manifest of `dst`, its funnel included.

    `mapper` is called once per worker. `workers` 0 maps in this process, more are Ray actors, each holding
    `resources` such as `{"CPU": 1, "GPU": 0.5}`: local ones, or on the cluster at RAY_ADDRESS (which must see the
    same paths). `"GPU": "auto"` is a worker's share of the GPUs that are there, none where there are none. What can never be
    met is refused; for what is taken now, `resources_timeout_s` are waited. `work` belongs to this map alone and keeps
    finished shards until its owner removes it, so that a stage
    that fails after the map does not map again. `dst` appears when all is done; beside the shards it holds
    `rejected.jsonl` and `quarantined.jsonl`.

    The result does not depend on `workers`, except where the mapper's own arithmetic depends on its number of threads
    (Ray gives a worker as many as it has CPUs).

    Raises StageError for an unreadable `src`, for a mapper that fails (naming shard and sample), for a shard whose
    worker dies three times, and for more than `max_bad_fraction` of all samples quarantined.
    """
    if workers < 0:
        raise UsageError(f"workers must be 0 (in this process) or more, not {workers}", where="map_shards")
    sources = read_manifest(src).shards
    _check_free(dst)
    remove(work / ATTEMPTS)
    parts = {source.name: part for source in sources if (part := finished_shard(work, source))}
    books = _Books(dst, sources, max_bad_fraction, work)
    for part in parts.values():
        books.enter(part)
    left = [source for source in sources if source.name not in parts]
    options = {"workers": workers, "resources": resources, "resources_timeout_s": resources_timeout_s}
    bar = Progress(f"map {dst.name}", books.total, initial=books.funnel.seen, unit="samples")
    with bar as progress, closing(_map(mapper, left, src, work, options)) as finished:
        for part in finished:
            parts[part.shard.name] = part
            books.enter(part)
            progress.advance(Funnel.from_dict(part.funnel).seen)
    return _collect([parts[source.name] for source in sources], sources, work, dst, books.closed())


def _map(
    factory: Callable[[], Mapper],
    left: list[ShardEntry],
    src: Path,
    work: Path,
    options: dict[str, Any],
) -> Generator[MappedShard, None, None]:
    if left and options["workers"]:
        from components.engines.shards.actors import run_on_ray

        yield from run_on_ray(factory, left, src, work, **options)
    elif left:
        yield from run_map_pipeline(load_mapper(factory), (Job(source) for source in left), src, work)


class _Books:
    """The funnel over all shards; stops the map as soon as too many samples are unusable, whatever may follow."""

    def __init__(self, dst: Path, sources: tuple[ShardEntry, ...], max_bad_fraction: float, work: Path) -> None:
        self.where, self.max_bad_fraction, self.work = str(dst), max_bad_fraction, work
        self.sources = {source.name: source for source in sources}
        self.total = sum(source.samples for source in sources)
        self.funnel = Funnel()
        self.entered: list[ShardEntry] = []

    def enter(self, part: MappedShard) -> None:
        funnel, source = Funnel.from_dict(part.funnel), self.sources[part.shard.name]
        if funnel.seen != source.samples:
            raise StageError(
                f"{funnel.seen} of {source.samples} samples are accounted for",
                where=f"shard {part.shard.name}",
                do="report this: it is a bug",
            )
        self.funnel.merge(funnel)
        self.entered.append(source)
        if self._too_many():
            self.closed()

    def closed(self) -> Funnel:
        self.funnel.check(where=self.where, max_bad_fraction=self.max_bad_fraction, records=Reread(self._quarantined))
        return self.funnel

    def _too_many(self) -> bool:
        return sum(self.funnel.quarantined.values()) > self.max_bad_fraction * self.total

    def _quarantined(self) -> Iterator[dict[str, Any]]:
        """What was left out so far, without the bytes that are no text (pictures)."""
        for source in self.entered:
            for row in each_of_jsonl(refused_path(self.work, source, "quarantined")):
                yield row | {"fields": {k: v for k, v in row["fields"].items() if isinstance(v, str)}}


def _check_free(dst: Path) -> None:
    """Only nothing, an empty folder or an earlier set of shards is replaced."""
    if dst.exists() and not (dst / MANIFEST).is_file() and (not dst.is_dir() or any(dst.iterdir())):
        raise StageError("The output of a map is taken by something else", where=str(dst), do="name another folder")


def _collect(
    parts: list[MappedShard], sources: tuple[ShardEntry, ...], work: Path, dst: Path, funnel: Funnel
) -> Manifest:
    """The finished parts as one dataset, in the order of the source."""
    with atomic_write(dst) as partial:
        partial.mkdir()
        for part in parts:
            _link(work / part.shard.name, partial / part.shard.name)
        for kind in REFUSED:
            with (partial / f"{kind}.jsonl").open("wb") as file:
                for source in sources:
                    file.write(refused_path(work, source, kind).read_bytes())
        return write_manifest(partial, [part.shard for part in parts], funnel)


def _link(made: Path, place: Path) -> None:
    """A second name for the finished file; a copy where the file system has no such thing or `dst` is on another."""
    try:
        os.link(made, place)
    except OSError:
        shutil.copyfile(made, place)
