"""Who is champion now, as the registry says, asked without importing MLflow where the registry is a local database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from components.engines.tracking.store import store_of

_SQLITE = "sqlite:///"
_QUESTION = """
SELECT aliases.version, tags.value FROM registered_model_aliases aliases
LEFT JOIN model_version_tags tags
  ON tags.name = aliases.name AND tags.version = aliases.version AND tags.key = 'genworks.digest'
WHERE aliases.name = ? AND aliases.alias = 'champion'
"""


def champion_now(root: Path, system: str) -> dict[str, Any] | None:
    """`{"version", "digest"}` of the alias `champion`, None if there is none (or no registry)."""
    registry = store_of(root).registry
    if registry.startswith(_SQLITE):
        path = Path(registry.removeprefix(_SQLITE))
        if not path.exists():
            return None
        try:
            with closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True, timeout=5)) as connection:
                row = connection.execute(_QUESTION, (system,)).fetchone()
            return {"version": int(row[0]), "digest": row[1] or ""} if row else None
        except sqlite3.Error:  # another schema, or locked: MLflow knows
            pass
    from components.engines.tracking.registry import NoSuchVersion, version

    try:
        found = version(root, system)
    except NoSuchVersion:
        return None
    return {"version": found.version, "digest": found.digest}
