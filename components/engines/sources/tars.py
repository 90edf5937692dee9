"""Samples of WebDataset tars as img2dataset writes them: members that share a name up to the extension are one sample.

The headers are read first, then each sample's members wherever they are, so that their order does not matter and nothing that
follows an end mark goes unseen. Never unpacked: a member's name is a name, not a path.
"""

from __future__ import annotations

import contextlib
import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from components.engines.base.errors import StageError
from components.engines.sources.files import SourceFile
from components.engines.sources.rows import Unreadable, has_broken_text, shorten
from components.engines.sources.text import refuse_other_kinds

TEXT_EXTENSIONS = ("txt", "json")
MAX_MEMBERS = 5_000_000  # a gigabyte of index; img2dataset writes 30,000 a tar


@dataclass
class TarSample:
    """`number` is that of its first member (from 1); `fields` holds bytes by lower-case extension."""

    number: int
    key: str
    fields: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Member:
    number: int
    name: str
    start: int
    size: int
    refusal: str | None


class _Damaged(Exception):
    """A block that should be a header is none."""


class _Header(tarfile.TarInfo):
    """A header, or an error: the standard library takes whatever is no header for the end of the archive."""

    archive = 0  # how many end marks stand before it: tars one behind the other are read one behind the other

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Any:
        source: Any = tar.fileobj
        ended = 0
        while True:
            place = source.tell()
            try:
                header: Any = super().fromtarfile(tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                ended += 1
                continue
            except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
                if place and not ended:
                    raise _Damaged(f"it ends at byte {place} without an end mark") from None
                tar.offset = max(tar.offset, ended)  # an archive without members is none that is empty
                raise
            except tarfile.HeaderError as error:
                source.seek(place)
                if ended and not source.read(tarfile.BLOCKSIZE).strip(b"\0"):  # zeros, less than a block
                    continue
                behind = " behind an end mark" if ended or getattr(tar, "archive", 0) else ""
                raise _Damaged(f"no header at byte {place}{behind}: {error}") from None
            tar.archive = header.archive = getattr(tar, "archive", 0) + bool(ended)  # type: ignore[attr-defined]
            return header


def read_tar(
    file: SourceFile, opened: IO[bytes], *, pictures: tuple[str, ...], max_member_bytes: int
) -> Iterator[TarSample | Unreadable]:
    """The samples of one tar, by the place of their first member; `pictures` are extensions of images.

    Members that are unsafe, no files, too large, or occur twice come as Unreadable: one for each sample that is lost. What macOS
    adds (`._name`, `__MACOSX/`) is no sample. What cannot be sought in is copied to a temporary file first.

    Raises StageError for what is no tar, one that is cut short, and whatever but zeros follows the end mark and is no tar.
    """
    with _seekable(file, opened) as source:
        groups: dict[tuple[int, str], list[_Member]] = {}
        for archive, member in _members(file, source, max_member_bytes):
            groups.setdefault((archive, member.name), []).append(member)
        for key, named in _samples(groups, pictures).items():
            yield from _read(source, key, named)


def _members(file: SourceFile, source: IO[bytes], max_bytes: int) -> Iterator[tuple[int, _Member]]:
    """(number of the archive within the file, member)"""
    try:
        with tarfile.open(fileobj=source, mode="r:", tarinfo=_Header, encoding="utf-8") as tar:
            number = 0
            while found := tar.next():
                number += 1
                if number > MAX_MEMBERS:
                    raise StageError(f"The tar has more than {MAX_MEMBERS:,} members", where=file.name, do="split it")
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header
                if not found.isdir() and not _is_of_macos(found.name):
                    refusal = _refusal(found, max_bytes)
                    archive: int = getattr(found, "archive")  # noqa: B009 - of _Header, which typeshed's next() forgets
                    name = found.name if refusal else posixpath.normpath(found.name)  # `./a.png` is `a.png`
                    yield archive, _Member(number, name, found.offset_data, found.size, refusal)
    except (_Damaged, tarfile.TarError) as error:
        source.seek(0)
        refuse_other_kinds(file, source.read(8), "tar")
        raise _damaged(file, error) from None


def _damaged(file: SourceFile, error: Exception) -> StageError:
    return StageError(f"The tar is damaged or cut short ({error})", where=file.name, do="copy or download it again")


def _seekable(file: SourceFile, opened: IO[bytes]) -> Any:
    """The local file itself, or a temporary copy: no link to a store is sought in for every sample."""
    if file.compression is None and file.is_local:
        return contextlib.nullcontext(opened)
    copy = tempfile.TemporaryFile(prefix="genworks-tar-")  # noqa: SIM115 - closed by the caller's `with`
    try:
        shutil.copyfileobj(opened, copy, 1 << 20)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def _is_of_macos(name: str) -> bool:
    parts = name.split("/")
    return parts[-1].startswith("._") or parts[-1] == ".DS_Store" or "__MACOSX" in parts


def _refusal(member: tarfile.TarInfo, max_bytes: int) -> str | None:
    parts = member.name.replace("\\", "/").split("/")
    if member.name.startswith(("/", "\\")) or ".." in parts:
        return "unsafe member name"
    if has_broken_text(member.name):
        return "broken UTF-8"
    if not member.isreg() or member.issparse() or member.size < 0:
        return "member is no file"
    return "too many bytes" if member.size > max_bytes else None


def _samples(
    groups: dict[tuple[int, str], list[_Member]], pictures: tuple[str, ...]
) -> dict[str, dict[str, list[_Member]]]:
    """Members by sample and extension.

    WebDataset ends a key at the first dot. Names of cameras and dates hold dots, so a key that has both a picture and a text
    at its last dot is a sample of its own; anything else belongs to the key at the first dot, if that is a sample, else stands
    alone.
    """
    kinds: dict[tuple[int, str], set[str]] = {}
    for archive, name in groups:
        stem, extension = _split(name, last=True)
        kinds.setdefault((archive, stem), set()).add("picture" if extension in pictures else extension)
    whole = {key for key, its in kinds.items() if "picture" in its and its & set(TEXT_EXTENSIONS)}
    known = (*pictures, *TEXT_EXTENSIONS)
    samples: dict[str, dict[str, list[_Member]]] = {}
    for (archive, name), members in groups.items():
        stem, extension = _split(name, last=True)
        first, rest = _split(name, last=False)
        if (archive, stem) not in whole and ((archive, first) in whole or extension not in known):
            stem, extension = first, rest
        samples.setdefault(f"{archive}\0{stem}", {}).setdefault(extension, []).extend(members)
    return samples


def _split(name: str, *, last: bool) -> tuple[str, str]:
    """Key and lower-case extension at the last or the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.rpartition(".") if last and "." in file else file.partition(".")
    return folder + slash + stem, extension.lower()


def _read(source: IO[bytes], key: str, named: dict[str, list[_Member]]) -> Iterator[TarSample | Unreadable]:
    everything = [member for members in named.values() for member in members]
    number, name = min(member.number for member in everything), key.partition("\0")[2]
    refused = next((member for member in everything if member.refusal), None)
    if refused:
        yield Unreadable(number, str(refused.refusal), shorten(f"{refused.name} ({refused.size} bytes)"))
        return
    times = max(map(len, named.values()))
    if times > 1:  # which of them belong together, nobody knows
        twice = ", ".join(extension for extension, members in named.items() if len(members) > 1)
        yield from (Unreadable(number, "member occurs twice", shorten(f"{name}: {twice}")) for _ in range(times))
        return
    sample = TarSample(number, name)
    for extension, (member,) in named.items():
        source.seek(member.start)
        sample.fields[extension] = source.read(member.size)
    yield sample
