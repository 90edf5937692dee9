"""Temporary folders of this project: `.work/scratch/<name>-…/`, gone with the block, or with the next one if it was killed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.engines.base.paths import remove
from components.engines.tracking.spool import held_alone, try_lock


@contextmanager
def scratch(root: Path, name: str) -> Iterator[Path]:
    """A new empty folder. Where the project may not be written (it is only looked at), the system's temporary folder has it."""
    if not os.access(root, os.W_OK):
        with tempfile.TemporaryDirectory(prefix=f"genworks-{name}-") as temporary:
            yield Path(temporary)
        return
    place = root.resolve() / ".work" / "scratch"
    with held_alone(place):
        for old in place.iterdir():
            if old.is_dir() and not _held(old):
                remove(old)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=place))
        lock = try_lock(folder / ".lock")
    try:
        (folder / "files").mkdir()
        yield folder / "files"
    finally:
        remove(folder)
        if lock is not None:
            os.close(lock)


def forgotten(root: Path) -> list[Path]:
    """Folders that killed processes left; the next `scratch` removes them."""
    place = root / ".work" / "scratch"
    return sorted(one for one in place.iterdir() if one.is_dir() and not _held(one)) if place.is_dir() else []


def _held(folder: Path) -> bool:
    lock = try_lock(folder / ".lock")
    if lock is not None:
        os.close(lock)
    return lock is None
