"""Readers of one file each: rows as dicts, and the rows that cannot be read as `Unreadable`.

Text is UTF-8 (a byte-order mark is skipped). A row with broken UTF-8, wrong number of cells or invalid JSON is reported and
reading goes on; a file that is not text at all, or is broken in a way that would hide the rest of it, raises StageError.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from components.engines.base.errors import StageError
from components.engines.sources.files import SourceFile

PROBE_BYTES = 1 << 16
# Share of the probe that is no UTF-8. Latin-1 prose stays far below it (its broken lines are quarantined one by one).
BINARY_SHARE = 0.3
_MAGIC = {b"\x1f\x8b": "gzip", b"PAR1": "Parquet", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


@dataclass(frozen=True)
class Row:
    """One record: `line` is the first physical line in text files, the record's number elsewhere (both from 1)."""

    line: int
    cells: dict[str, Any]


@dataclass(frozen=True)
class Unreadable:
    line: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Table:
    """The columns of a file (None where each record names its own) and its rows, read lazily."""

    columns: list[str] | None
    rows: Iterator[Row | Unreadable]


def read_table(file: SourceFile, opened: IO[bytes]) -> Table:
    """Start reading `opened`, the bytes of `file`. Raises StageError for an empty or binary file."""
    if file.format == "parquet":
        return _parquet(file, opened)
    buffered = _probe(file, opened)
    reader: Callable[[SourceFile, IO[bytes]], Table] = {"csv": _csv, "tsv": _tsv, "json": _json, "jsonl": _jsonl}[
        file.format
    ]
    return reader(file, buffered)


def has_broken_text(value: Any) -> bool:
    """Whether a value holds a lone surrogate: a byte that was no UTF-8, or half of a JSON escape pair."""
    if isinstance(value, str):
        return any("\ud800" <= sign <= "\udfff" for sign in value) if not value.isascii() else False
    if isinstance(value, dict):
        return any(has_broken_text(item) for item in value.values())
    return isinstance(value, list) and any(has_broken_text(item) for item in value)


def shorten(text: object) -> str:
    """A record's text for the quarantine list, printable and at most 200 characters."""
    shown = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return shown if len(shown) <= 200 else shown[:199] + "…"


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


def _probe(file: SourceFile, opened: IO[bytes]) -> IO[bytes]:
    """Refuse files that are empty or not text; return the stream from its start, behind any byte-order mark."""
    head = opened.read(PROBE_BYTES)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise StageError("The file is empty", where=file.name, do="check how it was made or copied")
    _refuse_binary(file, head)
    return io.BufferedReader(_Spliced(head.removeprefix(b"\xef\xbb\xbf"), opened))


def _refuse_binary(file: SourceFile, head: bytes) -> None:
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise StageError(
                f"The file is {kind}, not {file.format} text", where=file.name, do="correct its suffix or `format:`"
            )
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise StageError("The file is UTF-16, not UTF-8", where=file.name, do="convert it to UTF-8 (iconv)")
    text = head.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= sign <= "\udcff" for sign in text)
    if b"\0" in head or broken > BINARY_SHARE * len(text):
        raise StageError(
            f"The file is binary or not UTF-8, not {file.format} text",
            where=file.name,
            do="check `source` and `format:`, or convert it to UTF-8 (iconv)",
        )


def _refuse_nul(file: SourceFile, line: int, text: str) -> None:
    if "\0" in text:
        raise StageError(
            "The file turns binary: a NUL byte in text", where=f"{file.name}:{line}", do="copy or make it again"
        )


def _csv(file: SourceFile, opened: IO[bytes]) -> Table:
    csv.field_size_limit(2**31 - 1)  # whole documents in one cell are fine; the module's default is 128 KiB
    text = io.TextIOWrapper(opened, encoding="utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(_without_nul(file, text), strict=True)
    try:
        header = next(reader)
    except (csv.Error, StopIteration) as error:
        raise StageError(f"The header line cannot be read: {error}", where=file.name) from None
    return Table(header, _csv_rows(file, reader, header))


def _without_nul(file: SourceFile, lines: Iterator[str] | io.TextIOWrapper) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        _refuse_nul(file, number, line)
        yield line


def _csv_rows(file: SourceFile, reader: Any, header: list[str]) -> Iterator[Row | Unreadable]:
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                # The rest of the file went into this one cell: going on would lose it in silence.
                raise StageError(
                    "A quote is opened and never closed", where=f"{file.name}:{start}", do="close or double that quote"
                ) from None
            yield Unreadable(start, "bad quoting", f"lines {start} to {reader.line_num}: {error}")
            continue
        if cells:  # the csv module gives [] for a blank line
            yield _row(start, header, cells)


def _tsv(file: SourceFile, opened: IO[bytes]) -> Table:
    """Tab-separated values in the sense of IANA's text/tab-separated-values: a quote is an ordinary character."""
    lines = _lines(file, opened)
    header = next(lines)[1].split("\t")
    return Table(header, _tsv_rows(lines, header))


def _tsv_rows(lines: Iterator[tuple[int, str]], header: list[str]) -> Iterator[Row | Unreadable]:
    for number, line in lines:
        if line or len(header) == 1:
            yield _row(number, header, line.split("\t"))


def _lines(file: SourceFile, opened: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Lines ended by LF or CRLF; other line separators of Unicode are text."""
    for number, raw in enumerate(opened, start=1):
        line = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
        _refuse_nul(file, number, line)
        yield number, line


def _row(line: int, header: list[str], cells: list[str]) -> Row | Unreadable:
    if len(cells) != len(header):
        shown = shorten(" | ".join(cells))
        return Unreadable(line, "wrong number of cells", f"{len(cells)} instead of {len(header)}: {shown}")
    return Row(line, dict(zip(header, cells, strict=True)))


def _jsonl(file: SourceFile, opened: IO[bytes]) -> Table:
    return Table(None, _jsonl_rows(_lines(file, opened)))


def _jsonl_rows(lines: Iterator[tuple[int, str]]) -> Iterator[Row | Unreadable]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = _parse_json(line)
        except (ValueError, RecursionError) as error:
            yield Unreadable(number, "invalid JSON", f"{error}: {shorten(line)}")
            continue
        yield _json_row(number, value)


def _json(file: SourceFile, opened: IO[bytes]) -> Table:
    """A list of objects, or an object with exactly one such list in it (`{"version": …, "data": […]}`)."""
    text = opened.read().decode("utf-8", "surrogateescape")
    try:
        value = _parse_json(text)
    except (ValueError, RecursionError) as error:
        raise StageError(
            f"The file is not valid JSON: {error}", where=file.name, do="for one object a line set `format: jsonl`"
        ) from None
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        value = lists[0] if len(lists) == 1 else value
    if not isinstance(value, list):
        raise StageError("The JSON file holds no list of objects", where=file.name, do="wrap the records in a list")
    return Table(None, (_json_row(number, item) for number, item in enumerate(value, start=1)))


def _parse_json(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def _json_row(number: int, value: Any) -> Row | Unreadable:
    if not isinstance(value, dict):
        return Unreadable(number, "not an object", shorten(value))
    return Row(number, value)


def _parquet(file: SourceFile, opened: IO[bytes]) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(opened)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowException) as error:
        raise StageError(
            f"The file is not Parquet or is cut short: {shorten(error)}", where=file.name, do="copy or make it again"
        ) from None
    return Table(list(table.schema_arrow.names), _parquet_rows(file, table))


def _parquet_rows(file: SourceFile, table: Any) -> Iterator[Row | Unreadable]:
    import pyarrow

    numbers = itertools.count(1)
    try:
        for batch in table.iter_batches(batch_size=1000):
            for cells in batch.to_pylist():
                yield Row(next(numbers), cells)
    except (pyarrow.ArrowException, OSError) as error:
        raise StageError(f"The Parquet file is damaged: {shorten(error)}", where=file.name) from None
