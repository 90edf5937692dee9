"""A rank that never arrives is named by those that waited for it, and nothing stays behind."""

import subprocess
import sys

import psutil
import pytest
from toy_fits import GROUPS_SCRIPT, start, torchrun, training

from components.engines.training.checkpoints import store
from components.engines.training.faults import hanging


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_and_the_run_ends(tmp_path):
    """Rank 0 and rank 1, one after the other; torchrun then gives what hangs half a minute before SIGKILL, both at once."""
    told = {rank: told_of_hanging(rank, tmp_path / str(rank)) for rank in (0, 1)}
    for rank, process in told.items():
        process.communicate(timeout=120)
        assert process.returncode != 0
        assert store.saved_steps(tmp_path / str(rank) / "checkpoints") == [2, 4]
        left = [int(path.name.split("-")[1]) for path in (tmp_path / str(rank) / "pids").iterdir()]
        assert len(left) == 2
        assert not any(psutil.pid_exists(pid) for pid in left)


def told_of_hanging(rank, work):
    """A run whose `rank` hangs, as soon as the other one has said so."""
    pids = work / "pids"
    pids.mkdir(parents=True)
    settings = training(checkpoint_every=2, collective_timeout_s=4)
    process = start("toy_faults", settings, work, processes=2, fault="hang", at=6, rank=rank, pids=str(pids))
    said = f"Rank {rank} of 2 did not arrive within 4 s (collective_timeout_s); rank {1 - rank} stopped waiting"
    lines = []
    for line in process.stderr:
        lines.append(line)
        if said in line:
            return process
    raise AssertionError("".join(lines)[-3000:])


def test_only_collectives_that_time_out_call_the_roll():
    told = "[third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 3000ms for recv operation"
    assert hanging._timed_out(RuntimeError(told))
    assert not hanging._timed_out(RuntimeError("gloo/transport/tcp/pair.cc:553] Connection closed by peer"))
    assert not hanging._timed_out(RuntimeError("HTTP request timed out"))


@pytest.mark.slow
def test_a_group_that_one_rank_closes_at_once_is_still_made_by_the_others():
    """Where more processes run than cores, one is often still connecting when another is done."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        made = subprocess.run(
            torchrun(4, GROUPS_SCRIPT, "150"), capture_output=True, text=True, timeout=280, check=False
        )
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert made.returncode == 0, made.stderr[-3000:]
