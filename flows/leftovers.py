"""What a killed DVC may leave behind, and putting it right before a run: half a dvc.lock, and its table of locked paths.

The table names who holds a path by process number alone. A number that the system has given to somebody else since makes DVC
wait for ever, so entries of processes that are gone are taken out here.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.engines.base.paths import atomic_write
from components.engines.base.work import held
from flows.dvc_lock import mend_lock_file

LOCK_TABLE = Path(".dvc/tmp/rwlock")
TABLE_GUARD = Path(".dvc/tmp/rwlock.lock")
REPO_LOCK = Path(".dvc/tmp/lock")
CLOCK_SECONDS = 2.0  # by which the start of a process and the time of a file may disagree


def mend(root: Path) -> list[str]:
    """Repair what was cut short; returns what was done, in words. Does nothing while DVC is at work here."""
    if dvc_is_busy(root):
        return []
    done = mend_lock_file(root)
    if not lock_table_is_whole(root):
        (root / LOCK_TABLE).unlink()
        done.append("DVC's table of locked paths was cut short by a killed run: removed")
    return [*done, *release_gone_lockers(root)]


def lock_table_is_whole(root: Path) -> bool:
    try:
        json.loads((root / LOCK_TABLE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def gone_lockers(root: Path) -> str:
    """Processes that DVC's table names but that are gone, as text."""
    return ", ".join(sorted({str(entry["pid"]) for entry in _gone(*_table(root))}))


def release_gone_lockers(root: Path) -> list[str]:
    """Take those processes out of the table; returns what was done, in words."""
    if not _gone(*_table(root)):
        return []
    with _guarded(root):
        table, written = _table(root)
        gone = _gone(table, written)
        read = {path: [e for e in entries if e not in gone] for path, entries in table.get("read", {}).items()}
        write = {path: entry for path, entry in table.get("write", {}).items() if entry and entry not in gone}
        with atomic_write(root / LOCK_TABLE) as partial:
            partial.write_text(json.dumps({"read": {k: v for k, v in read.items() if v}, "write": write}))
    return [
        f"paths were locked by a DVC that is gone ({entry['cmd']}, process {entry['pid']}): freed" for entry in gone
    ]


def _table(root: Path) -> tuple[dict[str, Any], float]:
    """DVC's table, and when it was written."""
    try:
        text, written = (root / LOCK_TABLE).read_text(encoding="utf-8"), (root / LOCK_TABLE).stat().st_mtime
        table = json.loads(text)
    except (FileNotFoundError, ValueError):
        return {}, 0.0
    return (table, written) if isinstance(table, dict) else ({}, 0.0)


def _gone(table: dict[str, Any], written: float) -> list[dict[str, Any]]:
    readers = [entry for entries in table.get("read", {}).values() for entry in entries]
    entries = [*readers, *(entry for entry in table.get("write", {}).values() if entry)]
    found: list[dict[str, Any]] = []
    for entry in entries:
        if entry not in found and _is_gone(entry, written):
            found.append(entry)
    return found


def _is_gone(entry: dict[str, Any], written: float) -> bool:
    """Whether the process that wrote the entry has ended. One that started after the table was written, or that runs another
    command, only has its number."""
    import psutil

    try:
        process = psutil.Process(int(entry["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE or process.create_time() > written + CLOCK_SECONDS:
            return True
        words = str(entry["cmd"]).split()
        return len(words) > 1 and words[-1] not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


@contextmanager
def _guarded(root: Path) -> Iterator[None]:
    """The lock under which DVC itself changes the table."""
    descriptor = os.open(root / TABLE_GUARD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def dvc_is_busy(root: Path) -> bool:
    """Whether a DVC process holds the repository's lock at this moment."""
    return held((root / REPO_LOCK).parent)  # both are files called `lock`, held by flock
