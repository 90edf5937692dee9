"""The project a command works on: found from the current folder, checked before anything runs."""

from __future__ import annotations

from pathlib import Path

from components.engines.base.errors import UsageError
from components.engines.base.paths import project_root


def open_project(start: Path | None = None) -> Path:
    """The project's root. Raises UsageError outside a project, without git, or where DVC was never set up."""
    root = project_root(start)
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise UsageError(
            "The project is not in a git repository, so no result could be traced to its code",
            where=str(root),
            do="run `git init`, `git add -A` and `git commit` there",
        )
    if not (root / ".dvc").is_dir():
        raise UsageError("DVC is not set up in this project", where=str(root), do="run `dvc init` there")
    return root
