"""Records that a stage leaves out: on disk as they come, and of a failed stage kept where people look.

Outputs, with their own lists, appear only on success.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from components.engines.base.errors import UnusableRecords
from components.engines.base.paths import each_of_jsonl, json_line, remove, write_jsonl


class RecordFile:
    """Records as lines of JSON in a file: appended as they come, read back as often as asked, never all in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> RecordFile:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, record: dict[str, Any]) -> None:
        self._file.write(json_line(record))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self._file.closed:
            self._file.flush()
        return each_of_jsonl(self.path)


class Reread:
    """What `read` yields, read anew each time: records that are in files."""

    def __init__(self, read: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self.read = read

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.read()


def evidence_path(root: Path, system: str, stage: str) -> Path:
    """Where the records of the stage's last failure are: `reports/<system>/<stage>-unusable.jsonl`, or nowhere."""
    return root / "reports" / system / f"{stage}-unusable.jsonl"


def keep_evidence(failure: BaseException, path: Path) -> None:
    """Write the records of an UnusableRecords to `path` and say so in its message."""
    if not isinstance(failure, UnusableRecords):
        return
    with contextlib.suppress(OSError):  # a full or read-only disk must not hide the failure itself
        count = write_jsonl(path, failure.records)
        if count:
            failure.what += f"; all {count} that were left out are listed in {path}"
        else:
            remove(path)
