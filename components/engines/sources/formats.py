"""Readers of one file each, by format.

A row with broken UTF-8, a wrong number of cells or invalid JSON is reported and reading goes on; a file that is not text at all,
or is broken in a way that would hide the rest of it, raises StageError.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from components.engines.base.errors import StageError
from components.engines.sources.delimited import read_delimited
from components.engines.sources.files import SourceFile
from components.engines.sources.rows import Row, Table, Unreadable, shorten
from components.engines.sources.text import Overlong, Reading, log, open_text, read_lines
from components.engines.sources.unpacking import FLOOR_BYTES, MAX_RATIO

MAX_DOCUMENT_BYTES = 256 << 20  # of a JSON file, which is parsed whole: ten times that in memory
_BATCH_BYTES = 64 << 20


def read_table(file: SourceFile, opened: IO[bytes], wanted: list[str], reading: Reading) -> Table:
    """Start reading `opened`, the bytes of `file`, of which the columns `wanted` matter.

    Raises StageError for an empty or binary file.
    """
    if file.format in ("csv", "tsv"):
        return read_delimited(file, opened, wanted, reading)
    return {"json": _json, "jsonl": _jsonl, "parquet": _parquet}[file.format](file, opened, wanted, reading)


def _jsonl(file: SourceFile, opened: IO[bytes], wanted: list[str], reading: Reading) -> Table:
    head, stream = open_text(file, opened, reading)
    first = head.lstrip().partition(b"\n")[0].strip()
    if first.startswith(b"[") and not first.endswith(b"]") and len(head.strip().splitlines()) > 1:
        log.info("%s: one JSON list over several lines, read as such (to say so: format=json)", file.name)
        return _document(file, stream)
    return Table(None, _jsonl_rows(read_lines(file, stream, reading.layout.max_record_bytes)))


def _jsonl_rows(lines: Iterator[tuple[int, str | Overlong]]) -> Iterator[Row | Unreadable]:
    for number, line in lines:
        if isinstance(line, Overlong):
            yield Unreadable(number, "record too long", shorten(f"{line.size} bytes: {line.beginning}"))
        else:
            yield from _values_in(number, line)


def _values_in(number: int, line: str) -> Iterator[Row | Unreadable]:
    """The records of a line: mostly one; several where a line end was lost or lists are written; commas may stand between."""
    place = _BETWEEN.match(line).end()  # type: ignore[union-attr]
    while place < len(line):
        try:
            value, place = _JSON.raw_decode(line, place)
        except (ValueError, RecursionError) as error:
            yield Unreadable(number, "invalid JSON", f"{error}: {shorten(line[place:])}")
            return
        values = value if isinstance(value, list) and value else [value]
        yield from (_json_row(number, one) for one in values)
        if not isinstance(value, list | dict):  # the rest of the line is of the same making
            return
        place = _BETWEEN.match(line, place).end()  # type: ignore[union-attr]


def _json(file: SourceFile, opened: IO[bytes], wanted: list[str], reading: Reading) -> Table:
    return _document(file, open_text(file, opened, reading)[1])


def _document(file: SourceFile, stream: IO[bytes]) -> Table:
    """A list of objects, or an object with exactly one such list in it (`{"version": …, "data": […]}`)."""
    data = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise StageError(
            f"The JSON file is larger than {MAX_DOCUMENT_BYTES >> 20} MiB, and would be parsed whole",
            where=file.name,
            do="write one object a line (.jsonl)",
        )
    try:
        value = parse_json(data.decode("utf-8", "surrogateescape"))
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


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # the last one would win in silence
        raise ValueError("an object names a field twice")
    return found


_JSON = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_once)
_BETWEEN = re.compile(r"[\s,\x1e]*")  # RFC 7464 begins each record with \x1e


def parse_json(text: str) -> Any:
    """JSON as the standard has it: no NaN, no name twice. Raises ValueError, or RecursionError for brackets without end."""
    return _JSON.decode(text)


def _json_row(number: int, value: Any) -> Row | Unreadable:
    if not isinstance(value, dict):
        return Unreadable(number, "not an object", shorten(value))
    return Row(number, value)


def _parquet(file: SourceFile, opened: IO[bytes], wanted: list[str], reading: Reading) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(opened)
        _refuse_expansion(file, table.metadata)
        texts = [field.name for field in table.schema_arrow if _is_text(field.type)]
        # Repeated values stay references into the file's own dictionary until their row is made.
        table = parquet.ParquetFile(
            opened, metadata=table.metadata, read_dictionary=texts, page_checksum_verification=True
        )
    except (pyarrow.ArrowInvalid, pyarrow.ArrowException) as error:
        raise StageError(
            f"The file is not Parquet or is cut short: {shorten(error)}", where=file.name, do="copy or make it again"
        ) from None
    columns = list(table.schema_arrow.names)
    # Without one of them all are read: the message that says so names what is there.
    only = list(dict.fromkeys(wanted)) if wanted and set(wanted) <= set(columns) else None
    return Table(columns, _parquet_rows(file, table, only, reading.layout.max_record_bytes))


def _is_text(kind: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_string(kind) or pyarrow.types.is_binary(kind)


def _refuse_expansion(file: SourceFile, metadata: Any) -> None:
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            unpacked = column.total_uncompressed_size
            if unpacked > FLOOR_BYTES and unpacked > MAX_RATIO * max(column.total_compressed_size, 1):
                raise StageError(
                    f"Column '{shorten(column.path_in_schema)}' unpacks to {unpacked >> 20} MiB, more than {MAX_RATIO} times "
                    "its size in the file",
                    where=file.name,
                    do="if it is no bomb, write the file anew without compression",
                )


def _batch_size(metadata: Any) -> int:
    """Rows that fit in _BATCH_BYTES: by the mean row of each row group, and by values that may repeat in nested columns."""
    size = 1000
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = [group.column(index) for index in range(group.num_columns)]
        mean = sum(column.total_uncompressed_size for column in columns) / max(group.num_rows, 1)
        nested = [c.total_uncompressed_size for c in columns if c.has_dictionary_page and "." in c.path_in_schema]
        size = min(size, int(_BATCH_BYTES / max(mean, 1)), 4 * _BATCH_BYTES // max(nested, default=1))
    return max(size, 1)


def _parquet_rows(file: SourceFile, table: Any, only: list[str] | None, max_bytes: int) -> Iterator[Row | Unreadable]:
    import pyarrow

    numbers = itertools.count(1)
    try:
        for batch in table.iter_batches(batch_size=_batch_size(table.metadata), columns=only):
            step = max(_BATCH_BYTES // max(_longest(batch), 1), 1)
            for start in range(0, batch.num_rows, step):
                for cells in _cells_of(batch.slice(start, step)):
                    yield _parquet_row(next(numbers), cells, max_bytes)
    except (pyarrow.ArrowException, OSError) as error:
        raise StageError(f"The Parquet file is damaged: {shorten(error)}", where=file.name) from None


def _cells_of(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    """The cells of each row, or what its conversion ended with: strings that are no UTF-8, dates beyond Python's years."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield error
            return
        half = batch.num_rows // 2
        yield from _cells_of(batch.slice(0, half))
        yield from _cells_of(batch.slice(half))


def _parquet_row(number: int, cells: dict[str, Any] | Exception, max_bytes: int) -> Row | Unreadable:
    if isinstance(cells, Exception):
        reason = "broken UTF-8" if isinstance(cells, UnicodeDecodeError) else "unreadable value"
        return Unreadable(number, reason, shorten(cells))
    long = next((name for name, cell in cells.items() if _is_long(cell, max_bytes)), None)
    if long is None:
        return Row(number, cells)
    return Unreadable(
        number, "record too long", f"'{long}' has {len(cells[long])} characters: {shorten(cells[long][:200])}"
    )


def _is_long(cell: Any, max_bytes: int) -> bool:
    return isinstance(cell, str) and len(cell) > max_bytes


def _longest(batch: Any) -> int:
    """Bytes of the longest value among those that rows refer to."""
    import pyarrow
    import pyarrow.compute

    longest = 0
    for column in batch.columns:
        if pyarrow.types.is_dictionary(column.type) and _is_text(column.type.value_type) and len(column.dictionary):
            longest = max(longest, pyarrow.compute.max(pyarrow.compute.binary_length(column.dictionary)).as_py() or 0)
    return longest
