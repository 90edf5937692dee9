"""The unfinished output of a map: per shard a tar, its counts and its refused samples, and a mark written last.

In `work/`, for the shard `train-000003.tar`: that tar, `train-000003.json` (its manifest entry and funnel),
`train-000003.rejected.jsonl`, `train-000003.quarantined.jsonl`, and `train-000003.tar.done`, which says of which input
and of which bytes. Each attempt writes in a folder of its own under `work/attempts/`, so two writers of one shard (a worker
believed dead) cannot mix their bytes.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from components.engines.base.errors import BadRecord
from components.engines.base.funnel import Funnel
from components.engines.base.paths import digest_file, digest_value, read_json, remove, write_json
from components.engines.shards.manifest import ShardEntry, parse_entry
from components.engines.shards.mapper import Rejected
from components.engines.shards.tar import Sample
from components.engines.shards.writer import TarFile

ATTEMPTS = "attempts"
REFUSED = ("rejected", "quarantined")


@dataclass(frozen=True)
class MappedShard:
    """One finished shard of the output."""

    shard: ShardEntry
    funnel: dict[str, Any]


class MappedShardWriter:
    """Writes the output of the input shard `source`; nothing counts before `finish` returns."""

    def __init__(self, work: Path, source: ShardEntry) -> None:
        self.work, self.source = work, source
        self.funnel = Funnel()
        attempts = work / ATTEMPTS
        attempts.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{source.name}-", dir=attempts))
        self._tar = TarFile(self.folder / source.name, source.name)
        self._refused: dict[str, IO[str]] = {
            kind: (self.folder / _refused_name(source, kind)).open("w", encoding="utf-8") for kind in REFUSED
        }

    def write(self, answer: Sample | Rejected) -> None:
        if isinstance(answer, Rejected):
            self._refuse("rejected", answer.sample, answer.reason, answer.detail)
            self.funnel.reject(answer.reason)
        else:
            self._tar.write(answer)
            self.funnel.keep()

    def quarantine(self, sample: Sample, bad: BadRecord) -> None:
        self._refuse("quarantined", sample, bad.reason, bad.detail)
        self.funnel.quarantine(bad.reason)

    def _refuse(self, kind: str, sample: Sample, reason: str, detail: str) -> None:
        fields = {name: _readable(value) for name, value in sorted(sample.items()) if not name.startswith("__")}
        row = {"key": sample.get("__key__"), "reason": reason, "detail": detail, "fields": fields}
        self._refused[kind].write(json.dumps(row, ensure_ascii=False) + "\n")

    def finish(self) -> MappedShard:
        """Move everything to its place in `work/` and mark the shard done."""
        part = MappedShard(self._tar.finish(self.source.name, self.source.split), self.funnel.as_dict())
        for file in self._refused.values():
            file.close()
        write_json(self.folder / _sidecar_name(self.source), {"shard": asdict(part.shard), "funnel": part.funnel})
        for name in _names(self.source):
            os.replace(self.folder / name, self.work / name)
        mark = {"input": self.source.sha256, "output": _digest(self.work, self.source, part.shard.sha256)}
        write_json(self.work / _mark_name(self.source), mark)
        self.folder.rmdir()
        return part

    def discard(self) -> None:
        """Close what is open and remove the attempt; harmless after `finish`."""
        self._tar.close()
        for file in self._refused.values():
            file.close()
        remove(self.folder)


def finished_shard(work: Path, source: ShardEntry) -> MappedShard | None:
    """The finished output of this input shard, if `work/` holds it whole: marked, of the same input, the same bytes."""
    try:
        mark = read_json(work / _mark_name(source))
        if mark != {"input": source.sha256, "output": _digest(work, source, digest_file(work / source.name))}:
            return None
        sidecar = read_json(work / _sidecar_name(source))
        return MappedShard(parse_entry(sidecar["shard"]), sidecar["funnel"])
    except (FileNotFoundError, ValueError):  # never finished, or a mark cut short by a power failure
        return None


def refused_path(work: Path, source: ShardEntry, kind: str) -> Path:
    return work / _refused_name(source, kind)


def _digest(work: Path, source: ShardEntry, tar_sha256: str) -> str:
    """Of all files of a part; the tar's own digest is handed in, since its writer knows it already."""
    others = [digest_file(work / name) for name in _names(source) if name != source.name]
    return digest_value([tar_sha256, *others])


def _names(source: ShardEntry) -> list[str]:
    return [source.name, _sidecar_name(source), *(_refused_name(source, kind) for kind in REFUSED)]


def _stem(source: ShardEntry) -> str:
    return source.name.removesuffix(".tar")


def _sidecar_name(source: ShardEntry) -> str:
    return f"{_stem(source)}.json"


def _refused_name(source: ShardEntry, kind: str) -> str:
    return f"{_stem(source)}.{kind}.jsonl"


def _mark_name(source: ShardEntry) -> str:
    return f"{source.name}.done"


def _readable(value: Any) -> Any:
    """Text where the bytes are UTF-8, base64 elsewhere."""
    data = bytes(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}
