"""A disk that fills up while a stage writes: one clear message, exit code 1, nothing half written."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.flows.toy_project import edit, make_toy_project, quiet_environment


@contextmanager
def small_disk(folder, size):
    """A tmpfs of `size` at `folder`; skips where this user may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_message_and_leaves_no_output(tmp_path):
    toy = make_toy_project(tmp_path / "toy")
    edit(toy / "params.yaml", "count: 4", "count: 100000")
    with small_disk(toy / "data/toy", "64k"):
        done = subprocess.run(
            [sys.executable, "-m", "components.toy.make"],
            cwd=toy,
            capture_output=True,
            text=True,
            check=False,
            env=quiet_environment(),
        )
        assert list((toy / "data/toy").iterdir()) == []
    assert done.returncode == 1
    assert "The disk is full" in done.stderr
    assert "free some space and run again" in done.stderr
    assert "Traceback" not in done.stderr
