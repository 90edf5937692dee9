"""The project a command works on: found from the current folder, checked before anything runs."""

from __future__ import annotations

import difflib
from pathlib import Path

from components.engines.base.errors import UsageError
from components.engines.base.params import read_yaml
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


def systems_of(root: Path) -> list[str]:
    """The systems of dvc.yaml, read without DVC."""
    stages = read_yaml(root / "dvc.yaml").get("stages")
    names = [str(name) for name in stages] if isinstance(stages, dict) else []
    return list(dict.fromkeys(name.split("-", 1)[0] for name in names if "-" in name))


def require_system(root: Path, system: str) -> None:
    """Raise UsageError, with the closest name, for a system that dvc.yaml does not have."""
    known = systems_of(root)
    if system not in known:
        close = difflib.get_close_matches(system, known, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(
            f"No system is called '{system}'",
            where=str(root / "dvc.yaml"),
            do=f"{hint}known systems: {', '.join(known) or 'none yet'}",
        )
