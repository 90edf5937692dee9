"""Records from any source under our own field names; what cannot be read is counted, reported and left out."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.files import SourceFile, find_files, is_saved_dataset, reading
from components.engines.sources.formats import Row, Table, Unreadable, has_broken_text, read_table, shorten
from components.engines.sources.hub import SCHEME, names_a_file, read_hub, read_saved

# Records of a file without a header that are read ahead to learn which columns exist.
_PEEK = 100

_Opener = Callable[[], Any]


def read_records(
    source: str,
    *,
    format: str | None = None,
    fields: dict[str, str],
    required: tuple[str, ...] = (),
    limit: int | None = None,
    funnel: Funnel,
    on_bad: Callable[[dict[str, Any]], None],
) -> Iterator[dict[str, Any]]:
    """Yield records of `source` (file, folder, glob, fsspec URL, `hf://` dataset), in sorted file order.

    `fields` maps our field names to their columns; `translation.en` reaches into a nested object. A field of `required`
    that is not mapped has the column of its own name; with neither, every column passes under its own name. Cells are not
    converted: csv and tsv give strings. At most `limit` records are yielded.

    An unreadable record is counted with `funnel.quarantine(reason)` and given to `on_bad` as {"reason", "line", "file",
    "detail"}; the caller keeps or rejects the yielded ones. Raises UsageError for a source, format or column that does not
    exist (before the first record), StageError for files that are empty, binary or damaged.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, not {limit}", where=source)
    wanted = {name: fields.get(name, name) for name in [*fields, *required]}
    tables = _tables(source, format)
    records = _records(source, tables, wanted, required, funnel, on_bad)
    return itertools.islice(records, limit)


def _tables(source: str, format: str | None) -> list[tuple[str, _Opener]]:
    """(name, opener of its Table) for each part of the source; nothing is opened yet."""
    if source.startswith(SCHEME) and not names_a_file(source):
        return [(source, partial(_unopened, read_hub, source))]
    if is_saved_dataset(source):
        from fsspec.core import url_to_fs

        return [(source.rstrip("/").rsplit("/", 1)[-1], partial(_unopened, read_saved, url_to_fs(source)[1]))]
    return [(file.name, partial(_opened, file)) for file in find_files(source, format)]


@contextmanager
def _unopened(read: Callable[[str], Table], source: str) -> Iterator[Table]:
    yield read(source)


@contextmanager
def _opened(file: SourceFile) -> Iterator[Table]:
    with file.open() as opened:
        yield read_table(file, opened)


def _records(
    source: str,
    tables: list[tuple[str, _Opener]],
    wanted: dict[str, str],
    required: tuple[str, ...],
    funnel: Funnel,
    on_bad: Callable[[dict[str, Any]], None],
) -> Iterator[dict[str, Any]]:
    met = 0
    for name, opener in tables:
        with reading(name), opener() as table:
            for row in _checked(table, wanted, name):
                met += 1
                record = row if isinstance(row, Unreadable) else _record(row, wanted, required)
                if isinstance(record, Unreadable):
                    funnel.quarantine(record.reason)
                    on_bad({"reason": record.reason, "line": record.line, "file": name, "detail": record.detail})
                else:
                    yield record
    if not met:
        raise StageError("The source holds no records", where=source, do="check how it was made or copied")


def _checked(table: Table, wanted: dict[str, str], name: str) -> Iterator[Row | Unreadable]:
    """The table's rows, once every wanted column was found in the header or in one of the first records."""
    if table.columns is not None and len(set(table.columns)) < len(table.columns):
        twice = sorted({column for column in table.columns if table.columns.count(column) > 1})
        raise StageError(f"The header names a column twice: {', '.join(twice)}", where=name, do="rename one of them")
    first = list(itertools.islice(table.rows, _PEEK))
    rows = [row for row in first if isinstance(row, Row)]
    columns = table.columns or list(dict.fromkeys(column for row in rows for column in row.cells))
    missing = [
        (field, column)
        for field, column in wanted.items()
        if column not in columns and not any(_has(row.cells, column) for row in rows)
    ]
    if missing and columns and not (table.columns and not rows and any("." in column for _, column in missing)):
        raise _wrong_column(missing, columns, name)
    yield from first
    yield from table.rows


def _wrong_column(missing: list[tuple[str, str]], columns: list[str], name: str) -> UsageError:
    field, column = missing[0]
    close = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    shown = ", ".join(columns[:30]) + (", …" if len(columns) > 30 else "")
    return UsageError(
        f"There is no column '{column}' for field '{field}' (columns found: {shown})",
        where=name,
        do=f"set `fields: {{{field}: {close[0] if close else '<one of these>'}}}` in params",
    )


def _has(cells: dict[str, Any], column: str) -> bool:
    return _pick(cells, column, _MISSING) is not _MISSING


_MISSING = object()


def _pick(cells: dict[str, Any], column: str, default: Any = None) -> Any:
    """The value under `column`; where no column has that name, dots lead into nested objects."""
    if column in cells or "." not in column:
        return cells.get(column, default)
    value: Any = cells
    for part in column.split("."):
        if not isinstance(value, dict) or part not in value:
            return default
        value = value[part]
    return value


def _record(row: Row, wanted: dict[str, str], required: tuple[str, ...]) -> dict[str, Any] | Unreadable:
    record = {name: _pick(row.cells, column) for name, column in wanted.items()} if wanted else row.cells
    for name in required:
        if record[name] is None:
            return Unreadable(row.line, "missing field", f"'{wanted[name]}' is null or absent: {shorten(row.cells)}")
    for name, value in record.items():
        if has_broken_text(value):
            return Unreadable(row.line, "broken UTF-8", f"'{name}': {shorten(value)}")
    return record
