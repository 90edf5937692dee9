"""A rank that never arrives is named by those that waited for it, and nothing stays behind."""

import subprocess
import sys

import psutil
import pytest
from toy_fits import GROUPS_SCRIPT, start, torchrun, training

from components.engines.training.checkpoints import store
from components.engines.training.faults import hanging


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_is_named_and_the_run_ends(rank, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "3")  # what hangs does not hear SIGTERM; then comes SIGKILL
    pids = tmp_path / "pids"
    pids.mkdir()
    settings = training(checkpoint_every=2, collective_timeout_s=4)
    process = start("toy_faults", settings, tmp_path, processes=2, fault="hang", at=6, rank=rank, pids=str(pids))
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert (
        f"Rank {rank} of 2 did not arrive within 4 s (collective_timeout_s); rank {1 - rank} stopped waiting" in errors
    )
    assert store.saved_steps(tmp_path / "checkpoints") == [2, 4]
    left = [int(path.name.split("-")[1]) for path in pids.iterdir()]
    assert len(left) == 2
    assert not any(psutil.pid_exists(pid) for pid in left)


def test_only_collectives_that_time_out_call_the_roll():
    told = "[third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 3000ms for recv operation"
    assert hanging._timed_out(RuntimeError(told))
    assert not hanging._timed_out(RuntimeError("gloo/transport/tcp/pair.cc:553] Connection closed by peer"))
    assert not hanging._timed_out(RuntimeError("HTTP request timed out"))


@pytest.mark.slow
def test_a_group_that_one_rank_closes_at_once_is_still_made_by_the_others():
    """Where more processes run than cores, one is often still connecting when another is done."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    try:
        made = subprocess.run(
            torchrun(4, GROUPS_SCRIPT, "300"), capture_output=True, text=True, timeout=280, check=False
        )
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert made.returncode == 0, made.stderr[-3000:]
