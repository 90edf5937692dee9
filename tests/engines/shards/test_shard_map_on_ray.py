"""The map on Ray actors: the same bytes as in one process, whoever is killed."""

import os
import random
import signal
import subprocess
import time

import psutil
import pytest
from toy_shards import Shout, command, write_toy

from components.engines.base.paths import digest_path
from components.engines.shards.manifest import read_manifest
from components.engines.shards.map_shards import map_shards

pytestmark = pytest.mark.slow


@pytest.fixture
def src(tmp_path):
    write_toy(tmp_path / "src")
    return tmp_path / "src"


@pytest.fixture
def expected(src, tmp_path):
    map_shards(Shout, src, tmp_path / "expected", work=tmp_path / "expected-work")
    return digest_path(tmp_path / "expected")


def lines(log):
    """(pid, key) of every sample decoded so far."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def done(work):
    return {path.name.removesuffix(".done") for path in work.glob("*.done")}


def shard_of(key):
    return f"train-{int(key[2:]) // 10:06d}.tar"


def wait_until(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the map ended before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.005)


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=100, check=False)


def test_two_workers_give_the_bytes_of_one_process(src, expected, tmp_path):
    log, dst = tmp_path / "log", tmp_path / "dst"
    result = run(src, dst, tmp_path / "work", 2, Shout(log=str(log), seconds=0.02))
    assert result.returncode == 0, result.stderr
    assert digest_path(dst) == expected
    assert len({pid for pid, _ in lines(log)}) == 2
    assert sorted(key for _, key in lines(log)) == [f"s/{i:04d}" for i in range(100)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced_and_only_its_unfinished_shards_are_redone(src, expected, tmp_path, workers):
    log, work, dst = tmp_path / "log", tmp_path / "work", tmp_path / "dst"
    process = subprocess.Popen(command(src, dst, work, workers, Shout(log=str(log), seconds=0.02)))
    wanted = random.randrange(5, 60)
    wait_until(lambda: len(lines(log)) >= wanted, process)
    finished, victim = done(work), int(lines(log)[-1][0])
    os.kill(victim, signal.SIGKILL)
    assert process.wait(100) == 0
    assert digest_path(dst) == expected
    if workers == 1:  # of two, the other may have done all the rest before the new one was up
        assert len({pid for pid, _ in lines(log)}) == 2
    counts = {}
    for _, key in lines(log):
        counts[key] = counts.get(key, 0) + 1
    assert all(counts[key] == 1 for key in counts if shard_of(key) in finished)
    assert len({shard_of(key) for key in counts if counts[key] > 1}) <= 2  # what the victim had in hand


def test_a_killed_driver_leaves_no_orphans_and_its_rerun_gives_the_same_bytes(src, expected, tmp_path):
    log, work, dst = tmp_path / "log", tmp_path / "work", tmp_path / "dst"
    process = subprocess.Popen(command(src, dst, work, 2, Shout(log=str(log), seconds=0.02)))
    wanted = random.randrange(1, 7)
    wait_until(lambda: len(done(work)) >= wanted, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished, workers = done(work), {int(pid) for pid, _ in lines(log)}
    end = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in workers):
        assert time.monotonic() < end, "workers outlive their driver"
        time.sleep(0.1)
    assert not dst.exists()
    finished = done(work)
    log.unlink()
    assert run(src, dst, work, 2, Shout(log=str(log))).returncode == 0
    assert digest_path(dst) == expected
    redone = {shard_of(key) for _, key in lines(log)}
    assert redone == {shard.name for shard in read_manifest(src).shards} - finished
    assert len(lines(log)) == 10 * len(redone)


def test_a_shard_that_kills_its_workers_is_named_and_the_others_are_kept(src, expected, tmp_path):
    work, dst = tmp_path / "work", tmp_path / "dst"
    result = run(src, dst, work, 2, Shout(die_at="s/0045"))
    assert result.returncode == 1
    assert "StageError: A map worker died 3 times on the same shard. Where: shard train-000004.tar." in result.stderr
    assert "train-000004.tar" not in done(work)
    assert not dst.exists()
    assert run(src, dst, work, 0, Shout()).returncode == 0
    assert digest_path(dst) == expected


@pytest.mark.parametrize(
    ("mapper", "failure"),
    [(Shout(fail_apply="s/0056"), "RuntimeError: apply trips"), (Shout(leave_at="s/0056"), "SystemExit: 7")],
    ids=["raises", "leaves"],
)
def test_a_failing_mapper_stops_all_workers_with_the_same_words_as_in_one_process(src, tmp_path, mapper, failure):
    words = f"StageError: The mapper failed: {failure}. Where: shard train-000005.tar, sample s/0056."
    for workers in (0, 2):
        result = run(src, tmp_path / "dst", tmp_path / f"work{workers}", workers, mapper)
        assert result.returncode == 1
        assert words in result.stderr
        assert "Traceback" not in result.stderr


def test_a_mapper_that_cannot_be_loaded_does_not_hang(src, tmp_path):
    result = run(src, tmp_path / "dst", tmp_path / "work", 2, Shout(batch_size=0))
    assert "batch_size must be positive" in result.stderr


def test_resources_that_this_machine_lacks_are_refused_instead_of_waited_for(src, tmp_path):
    result = run(src, tmp_path / "dst", tmp_path / "work", 2, Shout(), {"CPU": 0.5, "GPU": 1000})
    assert "UsageError: 2 workers with 0.5 CPU, 1000 GPU each do not fit this machine's Ray cluster" in result.stderr
