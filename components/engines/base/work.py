"""Unfinished work: `.work/<stage>/<key>/`, one owner at a time, and no orphans.

DVC deletes a stage's outputs before running it, and `kill -9` of `dvc repro` leaves the stage's command running while DVC
lets a second run start. So finished pieces live outside the outputs under a key of everything they depend on, the folder
has a lock that only a living process can hold, and a stage that DVC started dies with DVC.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil

from components.engines.base.errors import StageError
from components.engines.base.paths import remove

log = logging.getLogger("genworks")

UNFINISHED_KEPT = 3  # abandoned keys per stage: enough to go back to the params of yesterday, bounded on disk
PARENT_POLL_SECONDS = 0.5
_SHELLS = {"sh", "bash", "dash", "zsh", "ash", "ksh", "fish"}
_PR_SET_PDEATHSIG = 1


class WorkLock:
    """Exclusive ownership of `.work/<stage>/`, released by the kernel when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._file: int | None = None

    def __enter__(self) -> WorkLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        said = False
        while not self._try_once():
            if not said:
                log.warning("another run holds %s (%s); waiting for it to end", self.path.parent, holder(self.path))
                said = True
            time.sleep(PARENT_POLL_SECONDS)
        return self

    def _try_once(self) -> bool:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not _same_file(descriptor, self.path):  # somebody removed the folder between open and lock
            os.close(descriptor)
            return False
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(who).encode(), 0)
        self._file = descriptor
        return True

    def check(self) -> None:
        """Raise unless this process still owns the folder: called right before anything is published."""
        if self._file is None or not _same_file(self._file, self.path):
            raise StageError(
                "This run lost its work folder, so nothing is published",
                where=str(self.path.parent),
                do="do not delete .work/ while a stage runs; run again",
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def held(folder: Path) -> bool:
    """Whether a living process owns this work folder now."""
    return locked(folder / "lock")


def locked(path: Path) -> bool:
    """Whether a living process holds the lock on this file or folder; not, where there is none or it may not be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(lock: Path) -> str:
    """Who holds a lock, in words, for messages."""
    try:
        who = json.loads(lock.read_text())
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError):
        return "holder unknown"


def prune(folder: Path, keep: str) -> None:
    """Remove the oldest unfinished keys of a stage beyond `UNFINISHED_KEPT`, never the one in use."""
    keys = sorted((p for p in folder.iterdir() if p.is_dir() and p.name != keep), key=lambda p: p.stat().st_mtime)
    for old in keys[: max(0, len(keys) - UNFINISHED_KEPT)]:
        remove(old)


def die_with_parent() -> None:
    """End this process, at once, when the process that started it is gone (a shell in between counts as a wire).

    Linux signals the death of the direct parent; a watching thread covers the shell that DVC puts between, and other systems.
    """
    ancestors = _ancestors()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(ancestors,), name="parent-watch", daemon=True).start()


def _ancestors() -> list[psutil.Process]:
    """The direct parent and, while that is a shell, the parent above it."""
    found: list[psutil.Process] = []
    process = psutil.Process().parent()
    while process is not None:
        found.append(process)
        if process.name() not in _SHELLS:
            break
        process = process.parent()
    return found


def _watch(ancestors: list[psutil.Process]) -> None:
    # is_running() compares start times too, so a recycled pid does not pass for the parent
    while all(ancestor.is_running() and ancestor.status() != psutil.STATUS_ZOMBIE for ancestor in ancestors):
        time.sleep(PARENT_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
