"""Text files as UTF-8 lines of bounded length, whatever encoding and line ends they have; what was found is said.

UTF-8 (with or without a mark) and UTF-16 or UTF-32 with a mark are told by their bytes. Any other encoding is never guessed,
since a wrong guess reads well and means nothing: its lines are quarantined as broken UTF-8, with the setting that reads them.
"""

from __future__ import annotations

import codecs
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Annotated, Any

from pydantic import Field, field_validator

from components.engines.base.errors import StageError
from components.engines.base.params import Params
from components.engines.sources.files import SourceFile

log = logging.getLogger("genworks")

PROBE_BYTES = 1 << 16
# Share of the probe that is no UTF-8. Latin-1 prose stays far below it (its broken lines are quarantined one by one).
BINARY_SHARE = 0.3
# A few NULs are a bad record, as text_of says. More hide what was there: zeros that a crash left, or another format.
_NULS, _NUL_SHARE = 3, 0.1
_MAGIC = {b"\x1f\x8b": "gzip", b"PAR1": "Parquet", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class TextLayout(Params):
    """How CSV, TSV and JSON lines are written. Null: found in the file's first lines where they leave no doubt.

    `encoding` is a name of Python's (`cp1252`, `utf-16`); `quoted` says whether `"` encloses cells (CSV: yes; TSV: only
    where all say so); `columns` names the columns of a file without a header. A line, or a record of several, longer than
    `max_record_bytes` is quarantined and never held whole.
    """

    encoding: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quoted: bool | None = None
    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    max_record_bytes: Annotated[int, Field(ge=1000)] = 16 << 20

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        try:
            if name is None or codecs.lookup(name)._is_text_encoding:
                return name
        except LookupError:
            pass
        raise ValueError("no such text encoding; for example utf-8, utf-16, cp1252, latin-1, gb18030, shift_jis")


@dataclass(frozen=True)
class Reading:
    """How to read a source, and the section of params that says so: messages name the exact setting."""

    layout: TextLayout = field(default_factory=TextLayout)
    section: str = "SYSTEM.ingest"

    def setting(self, key: str, value: str) -> str:
        return f"--set '{self.section}.text.{key}={value}'"


AS_FOUND = Reading()


class _Spliced(io.RawIOBase):
    """Bytes already read, followed by the rest of the file: sources need not be seekable."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self.head, self.rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.head[: len(buffer)] or self.rest.read(len(buffer))
        self.head = self.head[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Recoded(io.RawIOBase):
    """Text of another encoding as UTF-8. Bytes that a one-byte encoding does not know stay as they are, and so are found."""

    def __init__(self, file: SourceFile, opened: IO[bytes], encoding: str) -> None:
        wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
        self._file, self._encoding, self._left = file, encoding, b""
        errors = "strict" if wide else "surrogateescape"
        self._text = io.TextIOWrapper(io.BufferedReader(_Spliced(b"", opened)), encoding, errors, newline="")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            try:
                self._left = self._text.read(PROBE_BYTES).encode("utf-8", "surrogateescape")
            except UnicodeError as error:
                raise StageError(
                    f"The file is not {self._encoding} throughout: {error}", where=self._file.name, do="make it again"
                ) from None
        chunk, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _LineFeeds(io.RawIOBase):
    """A file whose lines end in a carriage return alone, with line feeds instead."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._opened.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(chunk)] = chunk
        return len(chunk)


def open_text(file: SourceFile, opened: IO[bytes], reading: Reading) -> tuple[bytes, IO[bytes]]:
    """(the first bytes, all bytes) of a text file as UTF-8 without a mark, its lines ended by LF or CRLF.

    Raises StageError for a file that is empty, is none of the text it should be, or is no text.
    """
    encoding = reading.layout.encoding
    head = opened.read(PROBE_BYTES)
    for mark, found in _MARKS.items():
        if encoding is None and head.startswith(mark):
            log.info("%s: read as %s, as its first bytes say", file.name, found.upper())
            encoding = found
    if encoding is not None:
        opened = io.BufferedReader(_Recoded(file, io.BufferedReader(_Spliced(head, opened)), encoding))
        head = opened.read(PROBE_BYTES)
    if not head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip():
        raise StageError("The file is empty", where=file.name, do="check how it was made or copied")
    _refuse_binary(file, head, reading)
    head = head.removeprefix(b"\xef\xbb\xbf")
    stream: IO[bytes] = io.BufferedReader(_Spliced(head, opened))
    if b"\n" not in head and b"\r" in head.rstrip(b"\r"):
        log.info("%s: lines end in a carriage return alone", file.name)
        head, stream = head.replace(b"\r", b"\n"), io.BufferedReader(_LineFeeds(stream))
    return head, stream


def refuse_other_kinds(file: SourceFile, head: bytes, wanted: str) -> None:
    """Raise StageError for a file that begins as another known kind of file does."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise StageError(f"The file is {kind}, not {wanted}", where=file.name, do="correct its suffix or `format:`")


def _refuse_binary(file: SourceFile, head: bytes, reading: Reading) -> None:
    refuse_other_kinds(file, head, f"{file.format} text")
    text = head.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= sign <= "\udcff" for sign in text)
    if _is_binary(head) or broken > BINARY_SHARE * len(text):
        wide = head.count(b"\0") > len(head) // 4
        raise StageError(
            f"The file is binary or not UTF-8, not {file.format} text",
            where=file.name,
            do="check `source` and `format:`, or say its encoding, e.g. "
            + reading.setting("encoding", "utf-16-le" if wide else "cp1251"),
        )


def _is_binary(data: bytes) -> bool:
    return (nuls := data.count(b"\0")) > _NULS and nuls > _NUL_SHARE * len(data)


@dataclass(frozen=True)
class Overlong:
    """A line that was not kept: its beginning, and its length in bytes."""

    beginning: str
    size: int


def read_lines(file: SourceFile, stream: IO[bytes], max_bytes: int) -> Iterator[tuple[int, str | Overlong]]:
    """(number from 1, line with its end); bytes that are no UTF-8 come as lone surrogates. Memory is bounded by `max_bytes`.

    Raises StageError where the file turns binary: a line of NUL bytes.
    """
    number = 0
    while raw := stream.readline(max_bytes + 1):
        number += 1
        if _is_binary(raw):
            raise StageError(
                "The file turns binary: NUL bytes in text", where=f"{file.name}:{number}", do="copy or make it again"
            )
        raw = raw.removeprefix(b"\xef\xbb\xbf")  # of a file behind another
        if len(raw) <= max_bytes or raw.endswith(b"\n"):
            yield number, raw.decode("utf-8", "surrogateescape")
            continue
        beginning, size = raw[:400].decode("utf-8", "replace"), len(raw)
        del raw
        while rest := stream.readline(1 << 16):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        yield number, Overlong(beginning, size)


def as_latin(text: str) -> str:
    """What text with bytes that are no UTF-8 would read as Windows-1252, the usual cause; "" for text of another fault."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    except UnicodeEncodeError:  # half of a JSON escape pair
        return ""
