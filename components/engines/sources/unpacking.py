"""Compressed files as streams: read to the very end of the file, and never far beyond what a file of its size may hold."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import IO, Any

from components.engines.base.errors import StageError

# Text shrinks to a tenth, the most repetitive tables to a hundredth. Small files are let off: they can do no harm.
MAX_RATIO, FLOOR_BYTES = 250, 128 << 20
_CHUNK = 1 << 16
_MAGIC = {"gzip": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00"}


class _Gzip:
    """zlib's decompressor with the methods of the other two. Checks CRC and length of every member."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


_DECOMPRESSORS: dict[str, Any] = {"gzip": _Gzip, "bz2": bz2.BZ2Decompressor, "xz": lzma.LZMADecompressor}


class Unpacked(io.RawIOBase):
    """The bytes inside a gzip, bz2 or xz file of one or more members.

    Python's own readers take whatever follows a bz2 or xz member for the end of the file; here anything but zeros is an error
    with its offset. Raises StageError for that, for a file that is no such archive, and for one that unpacks to more than
    MAX_RATIO times what was read of it; EOFError or the library's own error where the data are cut short or damaged.
    """

    def __init__(self, raw: IO[bytes], compression: str, name: str) -> None:
        self._raw, self._compression, self._name = raw, compression, name
        self._read = self._made = 0
        self._waiting = b""
        self._member: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._member is None and not self._begin():
                return 0
            data = self._take() if self._member.needs_input else b""
            out = self._member.decompress(data, len(buffer))
            if self._member.eof:
                self._waiting, self._member = self._member.unused_data + self._waiting, None
            elif not out and not data and self._member.needs_input:
                raise EOFError("it ends within the compressed data")
            if out:
                self._count(len(out))
                buffer[: len(out)] = out
                return len(out)

    def _take(self) -> bytes:
        data, self._waiting = self._waiting, b""
        if not data:
            data = self._raw.read(_CHUNK)
            self._read += len(data)
        return data

    def _begin(self) -> bool:
        """Start the next member; whether there is one."""
        first, magic = self._read == 0, _MAGIC[self._compression]
        while len(self._waiting) < len(magic):
            more = self._raw.read(_CHUNK)
            self._read += len(more)
            self._waiting += more
            if not first:  # padding may stand between members and after the last
                self._waiting = self._waiting.lstrip(b"\0")
            if not more:
                break
        if not first:
            self._waiting = self._waiting.lstrip(b"\0")
            if not self._waiting:
                return False
        if not self._waiting.startswith(magic):
            self._refuse(first)
        self._member = _DECOMPRESSORS[self._compression]()
        return True

    def _refuse(self, first: bool) -> None:
        if first and not self._waiting:
            raise StageError("The file is empty", where=self._name, do="check how it was made or copied")
        if first:
            raise StageError(
                f"This is not the compressed file its suffix says (no {self._compression})",
                where=self._name,
                do="correct its suffix, or copy or download it again",
            )
        raise StageError(
            f"The compressed data end at byte {self._read - len(self._waiting)}, and what follows is no {self._compression}",
            where=self._name,
            do="copy or download it again",
        )

    def _count(self, made: int) -> None:
        self._made += made
        if self._made > FLOOR_BYTES and self._made > MAX_RATIO * self._read:
            raise StageError(
                f"The file unpacks to more than {MAX_RATIO} times its size: {self._made >> 20} MiB so far from "
                f"{self._read >> 10} kiB",
                where=self._name,
                do="if it is no bomb, unpack it yourself and name the unpacked file",
            )
