"""Samples of WebDataset tars as img2dataset writes them: members that share a name up to the first dot are one sample.

Read as a stream (any fsspec URL, compressed or not), and never unpacked: a member's name is a name, not a path.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from components.engines.base.errors import StageError
from components.engines.sources.files import SourceFile
from components.engines.sources.formats import Unreadable, shorten


@dataclass
class TarSample:
    """`number` is that of its first member (from 1); `fields` holds bytes by lower-case extension."""

    number: int
    key: str
    fields: dict[str, bytes] = field(default_factory=dict)


def read_tar(file: SourceFile, opened: IO[bytes], *, max_member_bytes: int) -> Iterator[TarSample | Unreadable]:
    """The samples of one tar in its order; members that are unsafe, no files, or too large come as Unreadable.

    Raises StageError for what is no tar, or one that is cut short.
    """
    current: TarSample | None = None
    try:
        with tarfile.open(fileobj=opened, mode="r|") as tar:
            for number, member in enumerate(tar, start=1):
                if member.isdir():
                    continue
                refusal = _refusal(member, max_member_bytes)
                if refusal:
                    yield Unreadable(number, refusal, shorten(f"{member.name} ({member.size} bytes)"))
                    continue
                key, extension = _split(member.name)
                if current is None or key != current.key:
                    if current is not None:
                        yield current
                    current = TarSample(number, key)
                content: Any = tar.extractfile(member)
                current.fields[extension] = content.read()
    except tarfile.TarError as error:
        raise StageError(
            f"The tar is damaged or cut short ({error})", where=file.name, do="copy or download it again"
        ) from None
    if current is not None:
        yield current


def _refusal(member: tarfile.TarInfo, max_bytes: int) -> str | None:
    parts = member.name.replace("\\", "/").split("/")
    if member.name.startswith(("/", "\\")) or ".." in parts:
        return "unsafe member name"
    if not member.isreg():
        return "member is no file"
    return "too many bytes" if member.size > max_bytes else None


def _split(name: str) -> tuple[str, str]:
    """Key and lower-case extension; the extension begins after the first dot of the last part (WebDataset)."""
    folder, slash, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return folder + slash + stem, extension.lower()
