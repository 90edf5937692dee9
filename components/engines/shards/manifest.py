"""The manifest of a folder of shards: what it holds, and, being written last, that it is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError
from components.engines.base.funnel import Funnel
from components.engines.base.paths import write_json

MANIFEST = "manifest.json"
SPLIT = r"[a-z][a-z0-9_]*"
_VERSION = 1
_SHARD_NAME = re.compile(SPLIT + r"-\d{6,}\.tar")  # no way out of the folder


@dataclass(frozen=True)
class ShardEntry:
    """One tar: `bytes` is its size, `sha256` that of its bytes, `fields` the extensions its samples carry."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """Every shard of a dataset in reading order, and the counts of the stage that wrote it."""

    shards: tuple[ShardEntry, ...]
    funnel: Funnel | None = None

    @property
    def splits(self) -> dict[str, int]:
        """Samples by split."""
        counts: dict[str, int] = {}
        for shard in self.shards:
            counts[shard.split] = counts.get(shard.split, 0) + shard.samples
        return counts

    @property
    def schema(self) -> list[str]:
        """Every field that some sample carries."""
        return sorted({field for shard in self.shards for field in shard.fields})

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    def of_split(self, split: str) -> Iterator[ShardEntry]:
        return (shard for shard in self.shards if shard.split == split)

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "schema": self.schema,
            "splits": self.splits,
            "shards": [asdict(shard) for shard in self.shards],
            "funnel": self.funnel.as_dict() if self.funnel else None,
        }


def write_manifest(dst: Path, shards: Iterable[ShardEntry], funnel: Funnel | None = None) -> Manifest:
    """Complete the shards in `dst`. Raises StageError if a file is not what its entry says or a name comes twice."""
    manifest = Manifest(tuple(shards), funnel)
    names = [shard.name for shard in manifest.shards]
    if len(set(names)) != len(names):
        raise StageError("Two shards have the same name", where=str(dst), do="write each split with one ShardWriter")
    _check_files(dst, manifest)
    write_json(dst / MANIFEST, manifest.as_dict())
    return manifest


def read_manifest(src: Path) -> Manifest:
    """Read `src/manifest.json` and look at every file it names.

    Raises StageError if the folder has no manifest (so it is no complete dataset), if that is not readable, or if a shard is
    missing or has another size. Bytes are not hashed here: `ShardReader.verify` does that.
    """
    path = src / MANIFEST
    try:
        manifest = _parse(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise StageError(
            "There is no complete set of shards here: the manifest is missing",
            where=str(path),
            do="run the stage that writes this folder to its end",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(
            f"The manifest of the shards is not readable ({type(error).__name__}: {error})",
            where=str(path),
            do="delete the folder and run the stage that writes it again",
        ) from None
    _check_files(src, manifest)
    return manifest


def _parse(document: dict[str, Any]) -> Manifest:
    if document["version"] != _VERSION:
        raise ValueError(f"manifest version {document['version']!r} is not {_VERSION}")
    shards = tuple(parse_entry(entry) for entry in document["shards"])
    return Manifest(shards, Funnel.from_dict(document["funnel"]) if document["funnel"] else None)


def parse_entry(entry: dict[str, Any]) -> ShardEntry:
    """Raises KeyError, TypeError or ValueError if this is no entry of a manifest."""
    shard = ShardEntry(**{**entry, "fields": tuple(entry["fields"])})
    if not _SHARD_NAME.fullmatch(shard.name):
        raise ValueError(f"{shard.name!r} is no name of a shard")
    if shard.name.rpartition("-")[0] != shard.split or not all(
        isinstance(n, int) for n in (shard.samples, shard.bytes)
    ):
        raise ValueError(f"the entry of {shard.name} is inconsistent")
    return shard


def _check_files(folder: Path, manifest: Manifest) -> None:
    for shard in manifest.shards:
        path, do = folder / shard.name, "delete the folder and run the stage that writes it again"
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise StageError("A shard that the manifest names is missing", where=str(path), do=do) from None
        if size != shard.bytes:
            how = "truncated" if size < shard.bytes else "longer than written"
            raise StageError(f"A shard is {how}: {size} bytes instead of {shard.bytes}", where=str(path), do=do)
