"""What a training worker died of, written down for the driver, and whether trying again can help.

Ray starts workers anew whatever ended them. So a worker that meets the mark of a failure that no repetition cures ends at
once, and well: the launcher then tells what it was.
"""

from __future__ import annotations

import errno
import logging
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from components.engines.base import errors
from components.engines.base.errors import GenworksError, StageError, Transient
from components.engines.base.paths import read_json, remove, write_json

log = logging.getLogger("genworks")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.ENOENT}
_LINKS = ("gloo", "nccl", "connection", "socket", "peer", "cuda error")  # words of a RuntimeError that others caused


def may_pass(error: BaseException) -> bool:
    """Whether it can be another's loss, or the machine's: a rank or node that went, a network, a GPU that fell off.

    All else comes again, because a step is a function of data, params and state: losses that are not finite, bad settings or
    samples, too little memory, mistakes in code.
    """
    if isinstance(error, GenworksError):
        return isinstance(error, Transient)
    if isinstance(error, OSError):
        return error.errno not in _FULL
    if isinstance(error, torch.OutOfMemoryError) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in _LINKS)


def write_failure(work: Path, rank: int, error: Exception, *, alone: bool = False) -> None:
    """Write down what this worker failed with. `alone`: its group was closed, so what torch says only follows from that."""
    told = {"kind": "", "what": f"A training worker failed: {type(error).__name__}: {error}", "where": "", "do": ""}
    if isinstance(error, GenworksError):
        told = {"kind": type(error).__name__, "what": error.what, "where": error.where, "do": error.do}
    final = not may_pass(error) and (isinstance(error, GenworksError) or not alone)
    write_json(_file(work, rank), {**told, "final": final, "traceback": traceback.format_exc()})


def forget_failure(work: Path, rank: int) -> None:
    """What the attempt before died of is not what this one does."""
    remove(_file(work, rank))


def forget_failures(work: Path) -> None:
    for path in _files(work):
        remove(path)


def is_final(work: Path) -> bool:
    """Whether some worker has met a failure that would only come again."""
    return any(read_json(path)["final"] for path in _files(work))


def any_failure(work: Path) -> bool:
    return bool(_files(work))


def failure_of(work: Path) -> GenworksError:
    """The first failure that a worker wrote down; final ones and ours before others, which often only follow from them."""
    failures = [read_json(path) for path in _files(work)]
    failures.sort(key=lambda failure: (not failure["final"], not failure["kind"]))
    if not failures:
        return StageError(
            "A training worker died without a word (killed, or out of memory)",
            where=str(work),
            do="run again: it resumes from the last checkpoint; if it dies again, lower batch_size or the model's size",
        )
    failure = failures[0]
    log.debug("Worker's traceback:\n%s", failure["traceback"])
    kind = getattr(errors, failure["kind"], StageError)
    return kind(failure["what"], where=failure["where"], do=failure["do"])


def _file(work: Path, rank: int) -> Path:
    return work / f"failure-{rank}.json"


def _files(work: Path) -> list[Path]:
    return sorted(work.glob("failure-*.json"), key=lambda path: path.stat().st_mtime_ns)
