"""Writes WebDataset shards: equal samples give equal bytes, and a shard appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from components.engines.base.errors import StageError, UsageError, explain_os_error
from components.engines.base.paths import publish, remove, temporary_sibling
from components.engines.shards.manifest import SPLIT, ShardEntry
from components.engines.shards.tar import Sample, check_extension, check_key, end_of_archive, member_header, padding

_FLUSH_BYTES = 1 << 20  # hash and write in pieces of about this size: neither costs a call per member


class TarFile:
    """One shard being written to `path` (which the caller renames into place); hashed on the way."""

    def __init__(self, path: Path, shown: str) -> None:
        self.path, self.shown = path, shown  # `shown`: the name in messages, since `path` is a temporary one
        self.samples = self.bytes = 0
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._held = 0
        self._keys: set[str] = set()
        self._endings: dict[str, bytes] = {}  # by extension seen: the checked end of its members' names

    def write(self, sample: Sample) -> None:
        """Append a sample, its fields in alphabetical order.

        Raises StageError on an unusable or repeated key, an unusable field name, a value that is not bytes, a sample
        without fields, and a full disk.
        """
        key = check_key(sample.get("__key__"), self.shown)
        if key in self._keys:
            raise StageError(f"Key {key!r} comes twice", where=self.shown, do="give every sample a key of its own")
        stem, stored = key.encode(), False
        for extension in sorted(sample):
            if not extension.startswith("__"):
                self._member(key, stem, extension, sample[extension])
                stored = True
        if not stored:
            raise StageError(f"Sample {key!r} holds no fields", where=self.shown, do="give it at least one")
        self._keys.add(key)
        self.samples += 1
        if self._held >= _FLUSH_BYTES:
            self._flush()

    def _member(self, key: str, stem: bytes, extension: str, value: object) -> None:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise StageError(
                f"Field '{extension}' of sample {key!r} is {type(value).__name__}, not bytes",
                where=self.shown,
                do="encode it before writing",
            )
        if extension not in self._endings:
            check_extension(extension, f"{self.shown}, sample {key}")
            self._endings[extension] = b"." + extension.encode()
        value = bytes(value)
        size = len(value)
        try:
            header = member_header(stem + self._endings[extension], size)
        except ValueError as error:
            raise StageError(f"Sample {key!r} does not fit a tar: {error}", where=self.shown) from None
        self._pieces += (header, value, padding(size))
        self._held += len(header) + size + -size % 512

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        self._hash.update(data)
        self.bytes += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            error.filename = error.filename or self.shown
            raise explain_os_error(error) from error

    def finish(self, name: str, split: str) -> ShardEntry:
        """Complete the file and say what it holds."""
        self._flush()
        self._pieces.append(end_of_archive(self.bytes))
        self._flush()
        self.close()
        return ShardEntry(name, split, self.samples, self.bytes, self._hash.hexdigest(), tuple(sorted(self._endings)))

    def close(self) -> None:
        self._file.close()


class ShardWriter:
    """Writes `dst/{split}-{index:06d}.tar`, a new one after every `samples_per_shard` samples.

    Use as a context manager, one per split, then hand the `shards` of all of them to `write_manifest`, which completes
    the dataset. When the block raises, the unfinished shard is removed and no manifest vouches for the others.
    """

    def __init__(self, dst: Path, split: str, samples_per_shard: int = 1000) -> None:
        if not re.fullmatch(SPLIT, split):
            raise UsageError(f"'{split}' is no split name", where=str(dst), do="use lower-case letters, digits and '_'")
        if samples_per_shard < 1:
            raise UsageError(f"samples_per_shard must be positive, not {samples_per_shard}", where=str(dst))
        self.dst, self.split, self.samples_per_shard = dst, split, samples_per_shard
        self.shards: list[ShardEntry] = []
        self._tar: TarFile | None = None
        dst.mkdir(parents=True, exist_ok=True)

    def write(self, sample: Sample) -> None:
        """Append a sample: `{"__key__": str, extension: bytes, ...}`. Raises StageError as `TarFile.write` does."""
        if self._tar is None:
            path = self.dst / self._name()
            self._tar = TarFile(temporary_sibling(path), str(path))
        self._tar.write(sample)
        if self._tar.samples >= self.samples_per_shard:
            self._finish_shard(self._tar)

    def write_all(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            self.write(sample)

    def _name(self) -> str:
        return f"{self.split}-{len(self.shards):06d}.tar"

    def _finish_shard(self, tar: TarFile) -> None:
        entry = tar.finish(self._name(), self.split)
        publish(tar.path, self.dst / entry.name)
        self.shards.append(entry)
        self._tar = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tar is None:
            return
        tar = self._tar
        try:
            if kind is None:
                self._finish_shard(tar)
        finally:
            tar.close()
            if os.path.lexists(tar.path):
                remove(tar.path)
