"""A project that was moved or copied finds its artifacts again.

MLflow stores absolute places of artifacts with every experiment, run, model and version. In a project's own SQLite they are
rewritten to where the project lies now, before anything is read from or written to the old place.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from components.engines.tracking.addresses import database_file, local_path, project_artifacts
from components.engines.tracking.reach import BUSY_SECONDS, explain_database

log = logging.getLogger("genworks")

_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
_looked: set[Path] = set()  # projects this process has looked at: none moves while it works there


def follow_move(root: Path, tracking: str, artifacts: str | None) -> None:
    """Point every artifact of a project's own database below its own `mlartifacts/`; says so, and notes where they were.

    Nothing happens for servers and for artifacts that are kept elsewhere (MLFLOW_DEFAULT_ARTIFACT_ROOT).
    """
    file = database_file(tracking)
    own = file is not None and file.parent == root and artifacts == project_artifacts(root)
    if root in _looked or not own or file is None or not file.exists():
        return
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)) as database:
            for old in sorted(set(_old_places(database, root))):
                _rewrite(database, old, f"{artifacts}/")
                log.warning("the project was moved here from %s: its artifacts are looked for below %s", old, artifacts)
    except sqlite3.Error as error:
        raise explain_database(str(error), str(file)) from error
    _looked.add(root)


def _old_places(database: sqlite3.Connection, root: Path) -> Iterator[str]:
    """What locations begin with that were made below another root, ending in `mlartifacts/`."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return  # MLflow has yet to make its tables
    here = root / "mlartifacts"
    for name, location in database.execute("SELECT name, artifact_location FROM experiments"):
        place = str(location or "")
        if not place.endswith(f"/mlartifacts/{name}"):
            continue
        base = place.removesuffix(name)
        path = local_path(base)
        if path is not None and path != here and ((here / name).exists() or not (path / name).exists()):
            yield base


def _rewrite(database: sqlite3.Connection, old: str, new: str) -> None:
    database.execute("BEGIN IMMEDIATE")
    for table, columns in _PLACES.items():
        known = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        for column in known.intersection(columns):
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old), old),
            )
    database.execute(
        "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) "
        "SELECT 'genworks.moved_from', ?, experiment_id FROM experiments WHERE substr(artifact_location, 1, ?) = ?",
        (old.removesuffix("mlartifacts/"), len(new), new),
    )
    database.execute("COMMIT")
