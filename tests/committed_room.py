"""A project of real rooms with a commit and a dvc.lock, for tests that register what a room's stages have made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.room import REPOSITORY


def commit_room(root: Path, system: str, model_stage: str) -> Path:
    """Make `root` such a project; the model is what `model_stage` (without the system) is said to have made."""
    root.mkdir(exist_ok=True)
    (root / "components").symlink_to(REPOSITORY / "components")
    (root / ".gitignore").write_text("*\n!.gitignore\n!dvc.yaml\n")
    stage = {"cmd": "register", "deps": ["model"], "outs": ["receipt.json"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {f"{system}-register": stage}}))
    (root / "params.yaml").write_text("{}\n")
    out = {"path": "model", "hash": "md5", "md5": "30de1.dir"}
    lock = {"schema": "2.0", "stages": {f"{system}-{model_stage}": {"cmd": model_stage, "outs": [out]}}}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "room"]):
        subprocess.run([*git, *arguments], cwd=root, check=True, capture_output=True)
    return root
