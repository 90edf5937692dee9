"""Which commit the code is at."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from components.engines.base.errors import UsageError

# A run rewrites these itself; they say nothing about whether the code is the commit's.
_WRITTEN_BY_RUNS = ("dvc.lock", "data", "reports", "mlflow.db", "mlartifacts")


@dataclass(frozen=True)
class Commit:
    commit: str
    dirty: bool  # whether tracked or new files differ from the commit

    def __str__(self) -> str:
        return self.commit + (" (with uncommitted changes)" if self.dirty else "")


def commit_of(root: Path) -> Commit:
    """The commit checked out at `root`. Raises UsageError without git, a repository or a first commit."""
    commit = _git(root, "rev-parse", "--verify", "HEAD").strip()
    changes = _git(root, "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in _WRITTEN_BY_RUNS))
    return Commit(commit, dirty=bool(changes.strip()))


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError(
            "git is not installed", do="install it: a model version names the commit it came from"
        ) from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["git failed"])[0]
        raise UsageError(
            f"No git commit to name: {said}",
            where=str(root),
            do="git init && git add . && git commit: a model version names the commit it came from",
        )
    return done.stdout
