"""Damaged checkpoints and full disks when two processes train: what was saved is used, and both end."""

import os
import shutil
import subprocess

import pytest
from toy_fits import finish, outcome, start, training

from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.saved_run import finished_fit

LM, FAULTY = "toy_language_model", "toy_faults"


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used_by_both(tmp_path):
    settings = training(max_steps=12, checkpoint_every=3, ema_decay=0.9)
    finish(start(FAULTY, settings, tmp_path / "whole", processes=2))
    work = tmp_path / "damaged"
    at_once = training(
        max_steps=12, checkpoint_every=3, ema_decay=0.9, async_checkpoints=False
    )  # saved when it is killed
    start(FAULTY, at_once, work, processes=2, fault="SIGKILL", at=8, rank=1).communicate(timeout=120)
    root = work / "checkpoints"
    assert store.saved_steps(root) == [3, 6]
    files = store.folder_of(root, 6).rglob("*.safetensors")
    largest = max(files, key=lambda file: file.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    process = start(FAULTY, settings, work, processes=2)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors.count("step-00000006 is damaged") == 1
    ends = [outcome(finished_fit(tmp_path / name, settings)) for name in ("whole", "damaged")]
    assert ends[0] == ends[1]


def test_a_full_disk_ends_both_and_keeps_the_last_good_checkpoint(tmp_path):
    settings = training(max_steps=8, checkpoint_every=1)
    finish(start(LM, settings, tmp_path / "whole", processes=2, width=32))
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here (needs root)")
    try:
        process = start(LM, settings, disk / "work", processes=2, width=32)
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
        assert "The disk is full" in errors
        root = disk / "work" / "checkpoints"
        saved = store.saved_steps(root)
        assert saved
        assert all(store.read(root, step) for step in saved)
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        finish(start(LM, settings, disk / "work", processes=2, width=32))
        ends = [outcome(finished_fit(work, settings)) for work in (tmp_path / "whole", disk / "work")]
        assert ends[0] == ends[1]
    finally:
        subprocess.run(["umount", disk], check=True)
