"""A rank that does not arrive: the others stop waiting after a while and say which one it is.

What times out tells only that somebody is missing. So whoever gave up waiting answers a roll call through files in the
work folder, and the ranks that do not answer are the ones that hang. Files need no rank to be alive, and every survivor
can name the missing.

Between GPUs, NCCL's own watchdog ends a process that waits inside a kernel, with the collective and the rank in its
message and nothing for us to catch; it gets NCCL_MARGIN_SECONDS more than the ranks' agreement over the CPU
(stopping.py), which every step waits for too, so that usually this one is first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

# Not public, but the only way to a limit for a group that Ray made; torchtitan uses it too (distributed/utils.py).
from torch.distributed.distributed_c10d import _set_pg_timeout

from components.engines.base.errors import StageError, Transient
from components.engines.base.paths import remove
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

ROLL_CALL = "roll-call"
ROLL_CALL_SECONDS = (
    10.0  # by how much two ranks may differ in when they began to wait, and a shared folder in showing it
)
NCCL_MARGIN_SECONDS = 60.0


@contextmanager
def absentees_named(training: Training, work: Path, ranks: Ranks) -> Iterator[None]:
    """Inside the block a collective that times out becomes a StageError with the missing ranks. All ranks enter it."""
    if ranks.world == 1:
        yield
        return
    _limit(training, None)
    try:
        if ranks.is_first:
            remove(work / ROLL_CALL)
        ranks.barrier()  # nobody answers a roll call that is then wiped away
        yield
    except RuntimeError as error:
        if not _timed_out(error):
            raise
        raise _hangs(work, ranks, training) from error


def cpu_group(training: Training, ranks: Ranks) -> dist.ProcessGroup:
    """All ranks once more, over the CPU, for messages that must not mix with those of the training. Every rank calls it."""
    limit = training.collective_timeout_s
    group = dist.new_group(backend="gloo", timeout=None if limit is None else timedelta(seconds=limit))
    ranks.barrier()  # a rank that closes it at once (a refusal) would break the connections that others still make
    return group


def close_group(group: dist.ProcessGroup) -> None:
    """Close it if it is still open: Ray Train closes all groups of a worker, amid its work, when another worker is lost.

    What the worker then fails with is the loss of its peer; no error of closing may stand in its place.
    """
    with suppress(ValueError):
        dist.destroy_process_group(group)


def limit_waiting(training: Training, ranks: Ranks) -> None:
    """The same limit for the groups of a layout."""
    for group in ranks.mesh.get_all_groups() if ranks.mesh is not None else []:
        _limit(training, group)


def _limit(training: Training, group: dist.ProcessGroup | None) -> None:
    seconds = training.collective_timeout_s
    if seconds is not None:
        margin = 0.0 if dist.get_backend(group) == "gloo" else NCCL_MARGIN_SECONDS
        _set_pg_timeout(timedelta(seconds=seconds + margin), group)


def _timed_out(error: RuntimeError) -> bool:
    """Whether a collective did: there is no exception of its own for it, only words."""
    words = str(error).lower()
    return (isinstance(error, dist.DistError) or "gloo" in words) and ("timed out" in words or "timeout" in words)


def _hangs(work: Path, ranks: Ranks, training: Training) -> StageError:
    waited = training.collective_timeout_s
    missing = _call_roll(work / ROLL_CALL, ranks, min(waited or ROLL_CALL_SECONDS, ROLL_CALL_SECONDS))
    limit = "its time limit" if waited is None else f"{waited:g} s (collective_timeout_s)"
    if not missing:  # all gave up, so the limit is too short for what some rank was doing
        what = f"Ranks waited for each other longer than {limit}, though all of them are alive"
        return StageError(what, where=str(work), do="raise collective_timeout_s above what scoring and saving take")
    names = ", ".join(map(str, missing))
    return Transient(
        f"Rank {names} of {ranks.world} did not arrive within {limit}; rank {ranks.rank} stopped waiting",
        where=str(work),
        do=f"look at what rank {names} was doing (its log, its machine, its data) and run again: it resumes from the "
        "last checkpoint",
    )


def _call_roll(folder: Path, ranks: Ranks, seconds: float) -> list[int]:
    """Answer, and wait for the others to answer. Returns the ranks that did not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(ranks.rank)).touch()
    deadline = time.monotonic() + seconds
    while True:
        missing = [rank for rank in range(ranks.world) if not (folder / str(rank)).exists()]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.1)
