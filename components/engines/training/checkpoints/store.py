"""Checkpoints: folders that appear whole, carry the digest of every file, and are checked before they are used.

The tensors are torch.distributed.checkpoint's: each process writes the shards it holds, as safetensors, and any other layout
or number of processes reads what it needs of them.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import CheckpointException, HuggingFaceStorageReader, HuggingFaceStorageWriter

from components.engines.base.errors import StageError, explain_os_error
from components.engines.base.paths import (
    digest_file,
    digest_value,
    dump_json,
    publish,
    read_json,
    remove,
    temporary_sibling,
)
from components.engines.training.checkpoints.weights import Tensors, os_error_of

log = logging.getLogger("genworks")

Groups = dict[str, Tensors]  # tensors by what they belong to: a module, its average, a turn's optimiser

STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk whose files were found to be those that were written."""

    path: Path
    state: dict[str, Any]

    def saved(self, group: str) -> dict[str, torch.dtype]:
        """Names and types of the tensors of a group."""
        metadata = HuggingFaceStorageReader(str(self.path)).read_metadata().state_dict_metadata
        return {
            name.removeprefix(f"{group}/"): entry.properties.dtype
            for name, entry in metadata.items()
            if name.startswith(f"{group}/")
        }

    def load(self, groups: Groups, *, alone: bool) -> None:
        """Read into these tensors, in place, whatever layout they have; all processes call it, or one `alone`.

        Raises StageError if the checkpoint has no such tensor or one of another shape.
        """
        metadata = HuggingFaceStorageReader(str(self.path)).read_metadata().state_dict_metadata
        wanted = _flat(groups)
        wrong = [name for name, tensor in wanted.items() if name not in metadata or metadata[name].size != tensor.shape]
        if wrong:
            raise StageError(
                f"The checkpoint does not fit the networks: it has no {wrong[0]} of this shape ({len(wrong)} such tensors)",
                where=str(self.path),
                do="use the params and code that wrote it, or delete the work folder and train again",
            )
        with _quiet():
            dcp.load(wanted, storage_reader=HuggingFaceStorageReader(str(self.path)), no_dist=alone)

    def whole(self, group: str) -> Tensors:
        """All tensors of a group, put together on this process."""
        metadata = HuggingFaceStorageReader(str(self.path)).read_metadata().state_dict_metadata
        tensors = {
            name.removeprefix(f"{group}/"): torch.zeros(entry.size, dtype=entry.properties.dtype)
            for name, entry in metadata.items()
            if name.startswith(f"{group}/")
        }
        self.load({group: tensors}, alone=True)
        return tensors


def folder_of(root: Path, step: int) -> Path:
    return root / f"step-{step:08d}"


def saved_steps(root: Path) -> list[int]:
    """Steps that have a checkpoint, oldest first, sound or not."""
    if not root.is_dir():
        return []
    found = (re.fullmatch(r"step-(\d+)", folder.name) for folder in root.iterdir())
    return sorted(int(match[1]) for match in found if match)


def save(root: Path, step: int, groups: Groups, state: dict[str, Any], processes: dist.ProcessGroup | None) -> None:
    """Write a checkpoint; it appears under its name only when it is whole and on disk. Every process calls it.

    Raises StageError on a full disk, on all of them; the checkpoints that were there are left as they were.
    """
    folder = folder_of(root, step)
    partial = temporary_sibling(folder)
    is_first = processes is None or processes.rank() == 0
    try:
        if is_first:
            remove(partial)
            partial.mkdir(parents=True)
        _wait(processes)
        with _quiet():
            writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
            dcp.save(_flat(groups), storage_writer=writer, process_group=processes, no_dist=processes is None)
        digests = _digests(partial, processes)
        if is_first:
            _write_state(partial, digests, state)
            publish(partial, folder)
            _flush(root)
        _wait(processes)
    except (OSError, CheckpointException) as error:
        if is_first:
            remove(partial)
        found = _os_error_in(error)
        if found is None:
            raise
        raise explain_os_error(found) from error


def _flat(groups: Groups) -> Tensors:
    return {f"{group}/{name}": tensor.detach() for group, tensors in groups.items() for name, tensor in tensors.items()}


def _wait(processes: dist.ProcessGroup | None) -> None:
    if processes is not None:
        dist.barrier(group=processes)


@contextmanager
def _quiet() -> Iterator[None]:
    """DCP warns that a single process is a single process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _digests(folder: Path, processes: dist.ProcessGroup | None) -> dict[str, str]:
    """Of all files; every process reads those it wrote (`shard-<rank from 1>-…`)."""
    rank, world = (0, 1) if processes is None else (processes.rank(), processes.size())
    own = {path.name: digest_file(path) for path in sorted(folder.glob(f"shard-{rank + 1:05d}-*"))}
    if processes is None:
        return own
    everyone: list[dict[str, str]] = [{} for _ in range(world)]
    dist.all_gather_object(everyone, own, group=processes)
    return {name: digest for one in everyone for name, digest in one.items()}


def _os_error_in(error: OSError | CheckpointException) -> OSError | None:
    """The system's error behind a failed write: DCP gathers those of all processes."""
    if isinstance(error, OSError):
        return error
    found = (os_error_of(one[0]) for one in error.failures.values())
    return next((one for one in found if one is not None), None)


def _write_state(folder: Path, digests: dict[str, str], state: dict[str, Any]) -> None:
    body = {"state": state, "files": digests}
    with (folder / STATE).open("w", encoding="utf-8") as file:
        file.write(dump_json({**body, "digest": digest_value(body)}))
        file.flush()
        os.fsync(file.fileno())
    _flush(folder)


def _flush(folder: Path) -> None:
    """A new name is on disk only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(root: Path, step: int) -> Checkpoint | None:
    """The checkpoint of this step, or None, said in the log, if any of its files is not what was written."""
    return at(folder_of(root, step))


def at(folder: Path) -> Checkpoint | None:
    problem = _problem(folder)
    if problem:
        log.warning("Checkpoint %s is damaged (%s) and will not be used", folder, problem)
        return None
    return Checkpoint(folder, read_json(folder / STATE)["state"])


def _problem(folder: Path) -> str:
    try:
        saved = read_json(folder / STATE)
        body = {"state": saved["state"], "files": saved["files"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        return f"{STATE}: {type(error).__name__}"
    if saved.get("digest") != digest_value(body):
        return f"{STATE} was changed"
    for name, digest in body["files"].items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if digest_file(folder / name) != digest:
            return f"{name} was changed"
    return ""


def newest(root: Path) -> Checkpoint | None:
    """The newest sound checkpoint; damaged newer ones are named in the log and removed, or they would be kept as new."""
    for step in reversed(saved_steps(root)):
        checkpoint = read(root, step)
        if checkpoint is not None:
            log.info("Resuming from step %d (%s)", step, checkpoint.path)
            return checkpoint
        remove(folder_of(root, step))
    return None


def prune(root: Path, newest: int, keep: Iterable[int | None]) -> None:
    """Remove all but the `newest` and those to `keep`."""
    steps = saved_steps(root)
    for step in set(steps[:-newest]) - set(keep):
        remove(folder_of(root, step))
