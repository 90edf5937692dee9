"""What must hold before a run begins, so that it does not train for hours and then fail. `genworks doctor` tells the same."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from components.engines.base.errors import GenworksError, UsageError
from components.engines.tracking.store import require_reachable, store_of

WRITTEN = (
    ".",
    ".work",
    ".prefect",
    ".dvc/tmp",
    ".dvc/cache",
    "data",
    "reports",
    "dvc.lock",
    "mlflow.db",
    "mlartifacts",
)
# The system's limit is 107 bytes. Python's own sockets there take 30 of them, and Ray's (see RAY_TMPDIR in child.py) 67.
LONGEST_TMPDIR = 107 - 30
BREAKING = (
    "?#%{}"  # a database's URL ends or is decoded at the first three; Prefect and DVC fill in what stands in braces
)


def require(root: Path, *, registers: bool) -> None:
    """Raise the first obstacle as UsageError. `registers`: a model version is to be made, which names a commit."""
    for obstacle in obstacles(root, registers=registers):
        raise obstacle
    require_reachable(store_of(root))


def obstacles(root: Path, *, registers: bool = True) -> Iterator[GenworksError]:
    yield from _path(root)
    yield from _ownership(root)
    yield from _commit(root, registers)
    yield from _temporary_folder()


def _path(root: Path) -> Iterator[GenworksError]:
    found = sorted({sign for sign in str(root.resolve()) if sign in BREAKING})
    if found:
        yield UsageError(
            f"The project's path holds {' '.join(found)}, which the databases' addresses cannot carry",
            where=str(root),
            do="rename that folder",
        )


def _ownership(root: Path) -> Iterator[GenworksError]:
    for name in WRITTEN:
        path = root / name
        if path.exists() and not os.access(path, os.W_OK):
            yield UsageError(
                f"{_owner(path)} owns it and {getpass.getuser()} may not write it, so a run could not keep its results",
                where=str(path.resolve()),
                do=f"chown -R {getpass.getuser()} {root}, run as its owner, or clone it",
            )
            return


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError, NotImplementedError):
        return f"user {path.stat().st_uid}"


def _commit(root: Path, registers: bool) -> Iterator[GenworksError]:
    command = ["git", "rev-parse", "--verify", "HEAD"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, errors="replace", check=False)
    if "dubious ownership" in done.stderr:
        yield UsageError(
            "git refuses the repository, because another user owns it: no result could be traced to its code",
            where=str(root),
            do=f"git config --global --add safe.directory {root} (if you trust its owner), chown it, or clone it",
        )
    elif done.returncode and registers:
        said = (done.stderr.strip().splitlines() or ["git failed"])[-1]
        yield UsageError(
            f"A model version names the commit it came from, and there is none: {said}",
            where=str(root),
            do="git add -A && git commit",
        )


def _temporary_folder() -> Iterator[GenworksError]:
    folder = os.environ.get("TMPDIR", "")
    if sys.platform == "linux" and len(os.fsencode(folder)) > LONGEST_TMPDIR:
        yield UsageError(
            f"TMPDIR is {len(os.fsencode(folder))} bytes long; sockets in it work up to {LONGEST_TMPDIR}",
            where=folder,
            do="export TMPDIR=/tmp",
        )
