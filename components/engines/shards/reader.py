"""Reads shards by index: any sample of a split at once, in any order, from any thread or process."""

from __future__ import annotations

import bisect
import mmap
import operator
import threading
from array import array
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError
from components.engines.base.paths import digest_file
from components.engines.shards.manifest import ShardEntry, read_manifest
from components.engines.shards.tar import BLOCK, Sample, damaged, parse_header, split_name

_OPEN_SHARDS = 256  # maps held at once; each holds a file descriptor, of which a process often has 1024


class ShardFile:
    """One tar, mapped into memory; `starts` (from an earlier opening) saves the scan of its headers."""

    def __init__(self, path: Path, entry: ShardEntry, starts: array[int] | None = None) -> None:
        self.where = str(path)
        self._map = _map_file(path, entry)
        self.starts = self._scan() if starts is None else starts
        if len(self) != entry.samples:
            raise damaged(self.where, f"{len(self)} samples instead of {entry.samples}")

    def _scan(self) -> array[int]:
        """Byte offset of each sample's first header, then the end: 8 bytes of memory per sample."""
        starts, last, position = array("Q"), None, 0
        while position < len(self._map) and self._map[position]:
            name, size = parse_header(self._map[position : position + BLOCK], self.where)
            key, _ = split_name(name)
            if key != last:
                starts.append(position)
                last = key
            position += BLOCK + size + -size % BLOCK
        if position + 2 * BLOCK > len(self._map):
            raise damaged(self.where, "it ends in the middle of a member")
        starts.append(position)
        return starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> Sample:
        position, end = self.starts[index], self.starts[index + 1]
        sample: Sample = {}
        while position < end:
            name, size = parse_header(self._map[position : position + BLOCK], self.where)
            position += BLOCK
            sample["__key__"], extension = split_name(name)
            sample[extension] = self._map[position : position + size]
            position += size + -size % BLOCK
        return sample

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def _map_file(path: Path, entry: ShardEntry) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, ValueError):  # mmap refuses an empty file with ValueError
        raise damaged(str(path), "it is missing or empty") from None
    if len(mapped) != entry.bytes:
        raise damaged(str(path), f"{len(mapped)} bytes instead of {entry.bytes}")
    return mapped


class ShardReader:
    """The samples of one split, in the manifest's order, as `{"__key__": str, extension: bytes}`.

    `reader[i]` reads sample i only; shards are mapped and scanned when first touched. Threads may share a reader;
    a pickled or forked one opens the files anew. Raises StageError for what `read_manifest` refuses, for a split that
    is not there, and for links, devices and unsafe names inside a tar.
    """

    def __init__(self, src: Path, split: str) -> None:
        manifest = read_manifest(src)
        if split not in manifest.splits:
            has = ", ".join(manifest.splits) or "nothing"
            raise StageError(
                f"There is no split '{split}' here (there is {has})", where=str(src), do="name one of these"
            )
        self.src, self.split = src, split
        self.shards = tuple(manifest.of_split(split))
        self._ends = list(accumulate(shard.samples for shard in self.shards))
        self._forget()

    def _forget(self) -> None:
        self._open: dict[int, ShardFile] = {}
        self._starts: dict[int, array[int]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"src": self.src, "split": self.split, "shards": self.shards, "_ends": self._ends}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        index = operator.index(index)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.src}")
        number = bisect.bisect_right(self._ends, index)
        shard = self._open.get(number)
        if shard is None:
            shard = self._open_shard(number)
        return shard[index - self._ends[number] + self.shards[number].samples]

    def _open_shard(self, number: int) -> ShardFile:
        with self._lock:
            if number not in self._open:
                entry = self.shards[number]
                shard = ShardFile(self.src / entry.name, entry, self._starts.get(number))
                self._starts[number] = shard.starts
                while len(self._open) >= _OPEN_SHARDS:  # the map closes once no thread reads from it any more
                    self._open.pop(next(iter(self._open)))
                self._open[number] = shard
            return self._open[number]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def verify(self) -> None:
        """Read every byte of the split. Raises StageError naming the first shard that is not what was written."""
        for entry in self.shards:
            path = self.src / entry.name
            if digest_file(path) != entry.sha256:
                raise damaged(str(path), "its bytes are not those that were written (sha256 differs)")
            ShardFile(path, entry)
