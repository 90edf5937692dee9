"""Digests of files that were read before: a file of the same size, time of change and inode is not read again.

DVC trusts the same three. What is remembered lies under `.work/digests/`, a file for each path that was asked for; losing it
costs a reading. A stage's outputs are entered as they are published, from the digests that their manifest holds, so that the
stages behind it read nothing twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from components.engines.base.paths import digest_file, digest_listing, digest_value, files_of, read_json, write_json

FOLDER = Path(".work/digests")
MANIFEST = "manifest.json"  # of a folder of shards: lists them with their SHA-256
# A file changed twice within the clock's grain would look unchanged: it is remembered once it is older than that.
SETTLED_NS = 50_000_000

_Mark = list[Any]  # size, mtime, inode, SHA-256


class Digests:
    """What is remembered in a project. With `keep: False` nothing is written: for planning."""

    def __init__(self, root: Path, *, keep: bool = True) -> None:
        self.folder, self.keep = root / FOLDER, keep

    def of(self, path: Path) -> str:
        """As `digest_path`."""
        digests = self._of_files(str(path.absolute()), files_of(path))
        return next(iter(digests.values())) if path.is_file() else digest_listing(digests.items())

    def of_files(self, key: str, files: Iterable[tuple[str, Path]]) -> dict[str, str]:
        """SHA-256 by name of these files, remembered together under `key`."""
        return self._of_files(key, files)

    def recalled(self, key: str, make: Callable[[], Any]) -> Any:
        """A JSON value that follows from `key` alone, made once."""
        path = self._place(key)
        found = _read(path).get("value")
        if found is None:
            found = make()
            self._write(path, {"value": found})
        return found

    def enter(self, path: Path) -> None:
        """Remember a folder of shards that was just written by the digests of its manifest."""
        entries = _read(path / MANIFEST).get("shards") or []
        known = {entry["name"]: _mark(path / entry["name"], entry["sha256"]) for entry in entries}
        if known:
            self._write(self._place(str(path.absolute())), known)

    def _of_files(self, key: str, files: Iterable[tuple[str, Path]]) -> dict[str, str]:
        place = self._place(key)
        known, now = _read(place), {}
        for name, file in files:
            mark = _mark(file, "")
            before = known.get(name)
            if not isinstance(before, list) or before[:3] != mark[:3]:
                before = [*mark[:3], digest_file(file)]
            now[name] = before
        settled = {name: mark for name, mark in now.items() if time.time_ns() - mark[1] > SETTLED_NS}
        if settled != known:
            self._write(place, settled)
        return {name: mark[3] for name, mark in now.items()}

    def _place(self, key: str) -> Path:
        return self.folder / f"{digest_value(key)[:24]}.json"

    def _write(self, path: Path, value: Any) -> None:
        if self.keep:
            try:
                write_json(path.with_name(f"{os.getpid()}.{path.name}"), value)
                os.replace(path.with_name(f"{os.getpid()}.{path.name}"), path)
            except OSError:  # a full disk or a read-only project costs a reading next time, nothing else
                return


def _mark(file: Path, digest: str) -> _Mark:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, digest]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
