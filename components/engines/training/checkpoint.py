"""Checkpoints: folders that appear whole, carry the digest of every file, and are checked before they are used."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import explain_os_error
from components.engines.base.paths import (
    digest_file,
    digest_value,
    dump_json,
    publish,
    read_json,
    remove,
    temporary_sibling,
)
from components.engines.training.weights import Tensors, read_tensors, write_tensors

log = logging.getLogger("genworks")

KEEP_NEWEST = 2
STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk whose files were found to be those that were written."""

    path: Path
    state: dict[str, Any]

    def file(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def tensors(self, name: str) -> Tensors:
        return read_tensors(self.file(name))


def folder_of(root: Path, step: int) -> Path:
    return root / f"step-{step:08d}"


def saved_steps(root: Path) -> list[int]:
    """Steps that have a checkpoint, oldest first, sound or not."""
    if not root.is_dir():
        return []
    found = (re.fullmatch(r"step-(\d+)", folder.name) for folder in root.iterdir())
    return sorted(int(match[1]) for match in found if match)


def save(root: Path, step: int, files: dict[str, Tensors], state: dict[str, Any]) -> None:
    """Write a checkpoint; it appears under its name only when it is whole and on disk.

    Raises StageError on a full disk; the checkpoints that were there are left as they were.
    """
    folder = folder_of(root, step)
    partial = temporary_sibling(folder)
    try:
        remove(partial)
        partial.mkdir(parents=True)
        _write(partial, files, state)
        publish(partial, folder)
        _flush(root)
    except OSError as error:
        remove(partial)
        raise explain_os_error(error) from error


def _write(folder: Path, files: dict[str, Tensors], state: dict[str, Any]) -> None:
    digests = {}
    for name, tensors in files.items():
        path = folder / f"{name}.safetensors"
        write_tensors(path, tensors)
        digests[path.name] = digest_file(path)
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
    folder = folder_of(root, step)
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


def prune(root: Path, keep: Iterable[int | None]) -> None:
    """Remove all but the newest KEEP_NEWEST and those to `keep`."""
    steps = saved_steps(root)
    for step in set(steps[:-KEEP_NEWEST]) - set(keep):
        remove(folder_of(root, step))
