"""What a killed DVC may leave behind, and putting it right.

DVC writes dvc.lock and its table of locked paths in place. Killed in that instant it leaves half a file, after which every
DVC command fails. So a copy of dvc.lock is kept after each stage, and both are mended before a run.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

from components.engines.base.errors import UsageError
from components.engines.base.params import read_yaml
from components.engines.base.work import held

KEPT = Path(".work/dvc.lock.valid")
LOCK_TABLE = Path(".dvc/tmp/rwlock")
REPO_LOCK = Path(".dvc/tmp/lock")


def keep_lock_file(root: Path) -> None:
    """Remember dvc.lock if it is whole (another stage may be writing it right now; the next one will be kept then)."""
    kept = root / KEPT
    partial = kept.with_name(f".{kept.name}.{threading.get_ident()}")
    if (root / "dvc.lock").exists():
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(root / "dvc.lock", partial)
        if _whole(partial):
            os.replace(partial, kept)
        partial.unlink(missing_ok=True)


def mend(root: Path) -> list[str]:
    """Repair what was cut short; returns what was done, in words. Does nothing while DVC is at work here."""
    done: list[str] = []
    if dvc_is_busy(root):
        return done
    lock = root / "dvc.lock"
    if lock.exists() and not _whole(lock):
        kept = root / KEPT
        if kept.exists():
            shutil.copyfile(kept, lock)
            done.append("dvc.lock was cut short by a killed run: put back as it was after the last finished stage")
        elif not lock.read_bytes().strip():
            lock.unlink()
            done.append("dvc.lock was left empty by a killed run: removed")
    if not lock_table_is_whole(root):
        (root / LOCK_TABLE).unlink()
        done.append("DVC's table of locked paths was cut short by a killed run: removed")
    return done


def lock_table_is_whole(root: Path) -> bool:
    try:
        json.loads((root / LOCK_TABLE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def dead_lockers(root: Path) -> str:
    """Processes that DVC's table names but that are gone, as text."""
    import psutil

    try:
        table = json.loads((root / LOCK_TABLE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    readers = [entry for entries in table.get("read", {}).values() for entry in entries]
    entries = [*readers, *(entry for entry in table.get("write", {}).values() if entry)]
    return ", ".join(sorted({str(entry["pid"]) for entry in entries if not psutil.pid_exists(int(entry["pid"]))}))


def dvc_is_busy(root: Path) -> bool:
    """Whether a DVC process holds the repository's lock at this moment."""
    return held((root / REPO_LOCK).parent)  # both are files called `lock`, held by flock


def _whole(lock: Path) -> bool:
    try:
        return isinstance(read_yaml(lock).get("stages"), dict)
    except UsageError:
        return False
