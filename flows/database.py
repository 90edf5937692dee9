"""Whether an SQLite file is whole, and putting a damaged one out of the way."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

BUSY_SECONDS = 5.0


def damage(path: Path) -> str | None:
    """What SQLite finds wrong with a database, in its words; None if nothing, if it is busy, or if there is none."""
    if not path.exists():
        return None
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:  # locked, or not ours to open: that is no damage
        return str(error) if "malformed" in str(error) else None
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        if "connection" in locals():
            connection.close()
    return None if said == ["ok"] else "; ".join(said)


def files_of(path: Path) -> list[Path]:
    """The database and its side files, as far as they are there."""
    named = [path.with_name(f"{path.name}{ending}") for ending in ("", "-wal", "-shm", "-journal")]
    return [file for file in named if file.exists()]


def set_aside(path: Path) -> Path:
    """Rename a database and its side files so that a new one takes its place; returns where it went."""
    ending = time.strftime("damaged-%Y%m%d-%H%M%S")
    for file in files_of(path):
        file.rename(file.with_name(f"{path.name}.{ending}{file.name.removeprefix(path.name)}"))
    return path.with_name(f"{path.name}.{ending}")
