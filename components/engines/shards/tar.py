"""The one tar layout of a shard: ustar, regular files only, equal samples giving equal bytes.

Headers are built here because `tarfile` spends most of a small sample's time in general machinery: the constant part
of a header comes from `tarfile` once, and each member then costs one concatenation and one checksum. The format is
POSIX.1-1988 ustar (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06).
"""

from __future__ import annotations

import re
import tarfile
from typing import Any

from components.engines.base.errors import StageError

Sample = dict[str, Any]  # "__key__": str, and {extension: bytes}; further fields that start with "__" are not stored

BLOCK = 512
RECORD = 20 * BLOCK  # tar pads its files to whole records
_NAME, _PREFIX = 100, 155  # bytes for the last and the first part of a path
_SIZE_LIMIT = 8**11  # 8 GiB: eleven octal digits
_MODE = 0o644

# The last part of a key holds no dot, since WebDataset splits a name into key and extension at the first one; `__x__`
# at the front is WebDataset's own metadata, which its reader skips.
_KEY = re.compile(r"(?!__)(?:(?!\.\.?/)[^/\\\x00-\x1f\x7f]+/)*[^./\\\x00-\x1f\x7f]+")
_EXTENSION = re.compile(r"[a-z0-9][a-z0-9_.-]*")  # lower case: WebDataset's reader lowers it


def _constant_header() -> bytes:
    member = tarfile.TarInfo("")
    member.mode, member.mtime, member.uid, member.gid = _MODE, 0, 0, 0
    return member.tobuf(tarfile.USTAR_FORMAT)


_HEADER = _constant_header()
_OWNER, _MTIME, _TAIL = _HEADER[_NAME:124], _HEADER[136:148], _HEADER[156:]
_CONSTANT_SUM = sum(_OWNER) + sum(_MTIME) + sum(_TAIL) + 8 * ord(" ")  # the checksum field itself counts as spaces


def member_header(name: bytes, size: int) -> bytes:
    """The 512 bytes before a member. Raises ValueError if the name or the size does not fit ustar."""
    if size >= _SIZE_LIMIT:
        raise ValueError("a tar member must be smaller than 8 GiB")
    if len(name) > _NAME:
        member = tarfile.TarInfo(name.decode())
        member.mode, member.mtime, member.size = _MODE, 0, size
        return member.tobuf(tarfile.USTAR_FORMAT, encoding="utf-8", errors="strict")
    digits = b"%011o\0" % size
    checksum = b"%06o\0 " % (_CONSTANT_SUM + sum(name) + sum(digits))
    return b"".join((name.ljust(_NAME, b"\0"), _OWNER, digits, _MTIME, checksum, _TAIL))


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def end_of_archive(size: int) -> bytes:
    """Two empty blocks, then zeros up to a whole record, for an archive of `size` bytes so far."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % RECORD)


def check_key(key: object, where: str) -> str:
    """Refuse a key that a reader could not give back, or that could leave the folder it is unpacked in."""
    if not isinstance(key, str) or not _KEY.fullmatch(key) or not _is_utf8(key):
        raise StageError(
            f"A sample's key is unusable: {key!r}",
            where=where,
            do="use a non-empty __key__ without dots in its last part, empty parts, '..', backslashes, control "
            "characters or a leading '__'",
        )
    return key


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_extension(extension: str, where: str) -> None:
    if not _EXTENSION.fullmatch(extension):
        raise StageError(
            f"A sample's field name is unusable: {extension!r}",
            where=where,
            do="use lower-case letters, digits, '_', '-' and '.', beginning with a letter or digit",
        )


def parse_header(header: bytes, where: str) -> tuple[str, int]:
    """Name and size of a member, from its 512 bytes.

    Raises StageError if this is no ustar header, no regular file (a link, a device, a folder), or an unsafe name.
    """
    if header[257:263] != b"ustar\0" or len(header) != BLOCK:
        raise damaged(where, "a tar header is missing or damaged")
    if header[156] not in b"0\0":
        raise damaged(where, f"member of type {header[156:157]!r}; a shard holds regular files only")
    name = header[:_NAME].rstrip(b"\0")
    if header[345]:
        name = header[345 : 345 + _PREFIX].rstrip(b"\0") + b"/" + name
    try:
        text, size = name.decode(), int(header[124:136].rstrip(b"\0 "), 8)
    except ValueError:
        raise damaged(where, "a tar header holds no readable name or size") from None
    if text.startswith("/") or "\\" in text or ".." in text.split("/"):
        raise damaged(where, f"unsafe member name {text!r}")
    return text, size


def split_name(name: str) -> tuple[str, str]:
    """Key and extension: the extension begins after the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return folder + slash + stem, extension.lower()


def damaged(where: str, what: str) -> StageError:
    return StageError(
        f"A shard cannot be read: {what}", where=where, do="delete the folder and run the stage that writes it again"
    )
