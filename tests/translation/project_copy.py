"""A clone of this project with small params, to run as a user would: own git and DVC, own registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]

# Everything real, nothing long: seconds per stage instead of minutes.
SMALL = {
    "ingest": {"num_train": 1500, "num_test": 60, "samples_per_shard": 400},
    "tokenizer": {"vocab_size": 700},
    "architecture": {"d_model": 32, "ffn_dim": 64, "encoder_layers": 1, "decoder_layers": 1, "attention_heads": 2},
    "pretrain": {"training": {"max_steps": 12, "warmup_steps": 2, "score_every": 6, "checkpoint_every": 4}},
    "finetune": {
        "training": {
            "max_steps": 150,
            "learning_rate": 1e-2,
            "warmup_steps": 5,
            "score_every": 50,
            "checkpoint_every": 10,
        }
    },
    "evaluate": {"decoding": {"num_beams": 2, "max_new_tokens": 24}},
    "register": {"decoding": {"num_beams": 2, "max_new_tokens": 24}},
    "promote": {"thresholds": {"bleu": {"min": 0}}},
}


def copy_project(root: Path, small: dict | None = None) -> Path:
    """Copy the tracked files of the working tree, shrink the params (by system; default: translation's), commit."""
    names = run(REPOSITORY, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        source = REPOSITORY / name
        if source.is_file() and not name.startswith(("data/", "reports/", "dvc.lock")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, root / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    merge(params, {"translation": SMALL} if small is None else small)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run(root, "git", "init", "-q", "-b", "main")
    run(root, "git", "config", "user.email", "test@example.org")
    run(root, "git", "config", "user.name", "Test")
    commit(root, "a clone")
    return root


def merge(into: dict, more: dict) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def commit(root: Path, message: str) -> None:
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-q", "--allow-empty", "-m", message)


def environment() -> dict[str, str]:
    """Our interpreter and the copy's modules first; nothing of the outer session's stores."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_TRACKING", "PREFECT_API", "DVC_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return inherited | {"PATH": path, "PYTHONPATH": ".", "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}


def run(root: Path, *command: str) -> str:
    """Run to success and return stdout."""
    done = attempt(root, *command)
    assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def attempt(root: Path, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=root, env=environment(), input=text, capture_output=True, text=True, check=False, timeout=580
    )


def genworks(root: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return attempt(root, sys.executable, "-m", "flows.cli", *arguments, text=text)


def dvc(root: Path, *arguments: str) -> str:
    return run(root, sys.executable, "-m", "dvc", *arguments)


def hashes(root: Path) -> dict[str, str]:
    """Content hash of every output that dvc.lock records, by path (the fingerprint files aside)."""
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    outs = [out for block in stages.values() for out in block.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if not out["path"].startswith("data/code/")}
