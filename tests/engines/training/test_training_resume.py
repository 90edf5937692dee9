"""Train N ≡ train k + kill + resume, bit for bit; and what happens to damaged checkpoints and full disks."""

import errno
import logging
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_fits import finish, fit_here, outcome, start, training

from components.engines.base.errors import StageError
from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.weights import load_optimizer, optimizer_tensors, write_tensors

LM, GAN = "toy_language_model", "toy_gan"
SETTINGS = {"max_steps": 40, "accumulation_steps": 2, "ema_decay": 0.9, "score_every": 10, "checkpoint_every": 3}


def wait_for_checkpoint(process: subprocess.Popen, work: Path) -> None:
    deadline = time.monotonic() + 60
    while not store.saved_steps(work / "checkpoints"):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("toy", "precision"), [(LM, "fp32"), (LM, "bf16"), (GAN, "fp32"), (GAN, "bf16")])
def test_killed_and_resumed_equals_uninterrupted(toy, precision, tmp_path):
    settings = training(**SETTINGS, precision=precision, select="best")
    whole = fit_here(toy, settings, tmp_path / "whole")
    process = start(toy, settings, tmp_path / "killed", pause=0.02)  # 40 · 2 · 20 ms: there is time to kill it
    wait_for_checkpoint(process, tmp_path / "killed")
    time.sleep(random.uniform(0, 1.0))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "final").exists()
    assert outcome(fit_here(toy, settings, tmp_path / "killed")) == outcome(whole)


def test_another_process_trains_the_same_bits(tmp_path):
    settings = training(**SETTINGS)
    finish(start(LM, settings, tmp_path / "there"))
    here = fit_here(LM, settings, tmp_path / "here")
    assert outcome(fit_here(LM, settings, tmp_path / "there")) == outcome(here)


def test_every_checkpoint_leads_to_the_same_end(tmp_path):
    """Resume from each step in turn, also in the middle of a row of the curve."""
    settings = training(max_steps=10, ema_decay=0.9, score_every=5, log_every=4, checkpoint_every=1)
    whole = outcome(fit_here(GAN, settings, tmp_path / "whole"))
    for stop in range(1, 10):
        work = tmp_path / str(stop)
        with pytest.raises(KeyboardInterrupt):
            fit_here(GAN, settings, work, observer=None, stop_after=stop)
        assert store.saved_steps(work / "checkpoints")[-1] == stop
        assert outcome(fit_here(GAN, settings, work)) == whole


def interrupted(settings, work: Path, step: int) -> None:
    """A run that ends, as if killed, when it has saved `step`."""
    with pytest.raises(KeyboardInterrupt):
        fit_here(LM, settings, work, stop_after=step)


@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "state", "no state"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(damage, tmp_path, caplog):
    settings = training(max_steps=12, checkpoint_every=3, ema_decay=0.9)
    whole = fit_here(LM, settings, tmp_path / "whole")
    work = tmp_path / "damaged"
    interrupted(settings, work, 6)
    folder = store.folder_of(work / "checkpoints", 6)
    (file,) = folder.glob("shard-*.safetensors")
    match damage:
        case "flip":
            data = bytearray(file.read_bytes())
            data[-5] ^= 1
            file.write_bytes(data)
        case "truncate":
            os.truncate(file, file.stat().st_size // 2)
        case "missing":
            file.unlink()
        case "state":
            text = (folder / "state.json").read_text()
            (folder / "state.json").write_text(text.replace('"step": 6', '"step": 7'))
        case "no state":
            (folder / "state.json").write_text("")
    with caplog.at_level(logging.INFO, logger="genworks"):
        resumed = fit_here(LM, settings, work)
    assert "step-00000006 is damaged" in caplog.text
    assert "Resuming from step 3" in caplog.text
    assert outcome(resumed) == outcome(whole)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    settings = training(max_steps=12, checkpoint_every=3)
    whole = fit_here(LM, settings, tmp_path / "whole")
    work = tmp_path / "full"
    interrupted(settings, work, 3)

    def full(writer, plan, planner):
        Path(writer.path, "shard-00001-half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(writer.path))

    with monkeypatch.context() as patch:
        patch.setattr(store.HuggingFaceStorageWriter, "write_data", full)
        with pytest.raises(StageError, match="disk is full") as error:
            fit_here(LM, settings, work)
    assert "free some space" in str(error.value)
    assert [path.name for path in (work / "checkpoints").iterdir()] == ["step-00000003"]
    assert outcome(fit_here(LM, settings, work)) == outcome(whole)


def test_a_really_full_disk_says_so(tmp_path):
    """On a file system of 300 kB, where that can be mounted: safetensors' own error carries no errno."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here (needs root)")
    try:
        with pytest.raises(StageError, match="disk is full"):
            fit_here(LM, training(checkpoint_every=1), disk / "work", width=32)
        saved = disk / "work" / "checkpoints"
        assert all(store.read(saved, step) for step in store.saved_steps(saved))
        assert not [path for path in saved.iterdir() if path.name.startswith(".")]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_checkpoints_hold_no_pickle(tmp_path):
    fit_here(GAN, training(max_steps=4, ema_decay=0.9), tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}


def test_optimizer_state_survives_a_file_exactly(tmp_path):
    parameters = [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]
    names = {id(parameters[0]): "m.a", id(parameters[1]): "m.b"}
    optimizer = torch.optim.AdamW(parameters, fused=True)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    write_tensors(tmp_path / "o.safetensors", optimizer_tensors(optimizer, names))
    other = torch.optim.AdamW(parameters, fused=True)
    load_optimizer(other, names, load_file(tmp_path / "o.safetensors"))
    for parameter in parameters:
        assert optimizer.state[parameter].keys() == other.state[parameter].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(value, other.state[parameter][key]) for key, value in optimizer.state[parameter].items())


def test_equal_tensors_are_equal_bytes(tmp_path):
    tensors = {f"t{i}": torch.randn(3) for i in range(20)}
    for name in "ab":
        write_tensors(tmp_path / name, tensors if name == "a" else dict(reversed(tensors.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
