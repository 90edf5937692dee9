"""What killed commands left behind, found by locks that the system takes back when their holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from components.engines.base.paths import remove
from components.engines.base.work import locked

WORK = Path(".work")
SCRATCH = ("rebuild-", "estimate-")
LOGS = Path(".prefect/logs")
LOG_PATTERN = "temporary-server-*.log"
EXPERIMENTS = Path(".dvc/tmp/exps/standalone")
TREE_NEW_SECONDS = 600.0  # DVC fills a tree before any process works in it
LOG_KEPT_SECONDS = 24 * 3600.0  # of a server that failed: somebody was told to read it


@contextlib.contextmanager
def scratch(root: Path, prefix: str) -> Iterator[Path]:
    """A new folder `.work/<prefix>…` for this process, gone afterwards; after a kill the next run removes it."""
    assert prefix in SCRATCH
    (root / WORK).mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root / WORK))
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        remove(folder)
        os.close(descriptor)


def hold(descriptor: int) -> None:
    """Mark an open file as in use, by this process and the children that inherit it."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def leftovers(root: Path) -> list[Path]:
    """Scratch folders, logs and DVC's experiment trees that belong to nobody."""
    found = [path for prefix in SCRATCH for path in sorted((root / WORK).glob(f"{prefix}*")) if _free(path)]
    now = time.time()
    for log in sorted((root / LOGS).glob(LOG_PATTERN)):
        with contextlib.suppress(FileNotFoundError):
            if now - log.stat().st_mtime > LOG_KEPT_SECONDS and _free(log):
                found.append(log)
    trees = sorted((root / EXPERIMENTS).glob("*"))
    if trees:
        busy = _working_folders()
        found += [
            tree
            for tree in trees
            if now - tree.stat().st_mtime > TREE_NEW_SECONDS
            and not any(tree.resolve() in (at, *at.parents) for at in busy)
        ]
    return found


def sweep(root: Path) -> list[str]:
    """Remove them; returns what was done, in words."""
    found = leftovers(root)
    for path in found:
        remove(path)
    if any(path.is_relative_to(root / WORK) or path.is_relative_to(root / EXPERIMENTS) for path in found):
        subprocess.run(["git", "worktree", "prune"], cwd=root, capture_output=True, check=False)
    return (
        [f"left by a killed run, removed: {', '.join(str(path.relative_to(root)) for path in found)}"] if found else []
    )


def _free(path: Path) -> bool:
    return os.access(path, os.R_OK) and not locked(path)


def _working_folders() -> list[Path]:
    """Where this machine's processes work, as far as they may be seen."""
    import psutil

    return [Path(told) for process in psutil.process_iter(["cwd"]) if (told := process.info["cwd"])]
