"""Records from any source under our own field names; what cannot be read is counted, reported and left out."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from components.engines.base.errors import BadRecord, StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.files import SourceFile, damage_explained, find_files, is_saved_dataset
from components.engines.sources.formats import read_table
from components.engines.sources.hub import SCHEME, names_a_file, read_hub, read_saved
from components.engines.sources.rows import Row, Table, Unreadable, has_broken_text, shorten, text_of
from components.engines.sources.text import AS_FOUND, Reading, as_latin

# Records of a file without a header that are read ahead to learn which columns exist.
_PEEK = 100

_Opener = Callable[[], Any]


@dataclass(frozen=True)
class Located:
    """One record and where it stands: `file` is None for data sets that are no files of their own."""

    record: dict[str, Any]
    line: int
    name: str
    file: SourceFile | None


def read_records(
    source: str,
    *,
    format: str | None = None,
    fields: dict[str, str],
    required: tuple[str, ...] = (),
    texts: tuple[str, ...] = (),
    limit: int | None = None,
    reading: Reading = AS_FOUND,
    funnel: Funnel,
    on_bad: Callable[[dict[str, Any]], None],
) -> Iterator[dict[str, Any]]:
    """Yield records of `source` (file, folder, glob, fsspec URL, `hf://` dataset), in sorted file order.

    `fields` maps our field names to their columns; `translation.en` reaches into a nested object. A field of `required`
    that is not mapped has the column of its own name; with neither, every column passes under its own name. Cells are not
    converted (csv and tsv give strings), but those of `texts`: UTF-8 bytes are text, whatever else is no string is bad. At
    most `limit` records are yielded. `reading` says how text is written.

    An unreadable record is counted with `funnel.quarantine(reason)` and given to `on_bad` as {"reason", "line", "file",
    "detail"}; the caller keeps or rejects the yielded ones. Raises UsageError for a source, format or column that does not
    exist (before the first record), StageError for files that are empty, binary or damaged.
    """
    found = locate_records(
        source,
        format=format,
        fields=fields,
        required=required,
        texts=texts,
        reading=reading,
        funnel=funnel,
        on_bad=on_bad,
    )
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, not {limit}", where=source)
    return (one.record for one in itertools.islice(found, limit))


def locate_records(
    source: str,
    *,
    format: str | None,
    fields: dict[str, str],
    required: tuple[str, ...],
    texts: tuple[str, ...] = (),
    reading: Reading,
    funnel: Funnel,
    on_bad: Callable[[dict[str, Any]], None],
) -> Iterator[Located]:
    """The records as `read_records` gives them, each with its place."""
    wanted = {name: fields.get(name, name) for name in [*fields, *required]}
    return _records(
        source,
        _tables(source, format, list(wanted.values()), reading),
        wanted,
        required,
        texts,
        reading,
        funnel,
        on_bad,
    )


def _tables(
    source: str, format: str | None, wanted: list[str], reading: Reading
) -> list[tuple[str, SourceFile | None, _Opener]]:
    """(name, file, opener of its Table) for each part of the source; nothing is opened yet."""
    if source.startswith(SCHEME) and not names_a_file(source):
        return [(source, None, partial(_unopened, read_hub, source))]
    if is_saved_dataset(source):
        from fsspec.core import url_to_fs

        name = source.rstrip("/").rsplit("/", 1)[-1]
        return [(name, None, partial(_unopened, read_saved, url_to_fs(source)[1]))]
    files = find_files(source, format)
    return [(file.name, file, partial(_opened, file, wanted, reading)) for file in files]


@contextmanager
def _unopened(read: Callable[[str], Table], source: str) -> Iterator[Table]:
    yield read(source)


@contextmanager
def _opened(file: SourceFile, wanted: list[str], reading: Reading) -> Iterator[Table]:
    with file.open() as opened:
        yield read_table(file, opened, wanted, reading)


def _records(
    source: str,
    tables: list[tuple[str, SourceFile | None, _Opener]],
    wanted: dict[str, str],
    required: tuple[str, ...],
    texts: tuple[str, ...],
    reading: Reading,
    funnel: Funnel,
    on_bad: Callable[[dict[str, Any]], None],
) -> Iterator[Located]:
    met = 0
    for name, file, opener in tables:
        with damage_explained(name), opener() as table:
            for row in _checked(table, wanted, name, reading):
                met += 1
                record = row if isinstance(row, Unreadable) else _record(row, wanted, required, texts, reading)
                if isinstance(record, Unreadable):
                    funnel.quarantine(record.reason)
                    on_bad({"reason": record.reason, "line": record.line, "file": name, "detail": record.detail})
                else:
                    yield Located(record, row.line, name, file)
    if not met:
        raise StageError("The source holds no records", where=source, do="check how it was made or copied")


def _checked(table: Table, wanted: dict[str, str], name: str, reading: Reading) -> Iterator[Row | Unreadable]:
    """The table's rows, once every wanted column was found in the header or in one of the first records."""
    if table.columns is not None and len(set(table.columns)) < len(table.columns):
        twice = sorted({column for column in table.columns if table.columns.count(column) > 1})
        raise StageError(
            f"The header names a column twice: {shorten(', '.join(twice))}",
            where=name,
            do="rename one of them; if the first line is no header, name the columns: "
            + reading.setting("columns", _names(wanted)),
        )
    first = list(itertools.islice(table.rows, _PEEK))
    rows = [row for row in first if isinstance(row, Row)]
    columns = table.columns or list(dict.fromkeys(column for row in rows for column in row.cells))
    missing = [
        (field, column)
        for field, column in wanted.items()
        if column not in columns and not any(_has(row.cells, column) for row in rows)
    ]
    columns = [*columns, *dict.fromkeys(name for row in rows for name in _nested(row.cells) if name not in columns)]
    if missing and columns and not (table.columns and not rows and any("." in column for _, column in missing)):
        raise _wrong_column(missing, columns, name, wanted, reading)
    yield from first
    yield from table.rows


def _nested(cells: dict[str, Any]) -> Iterator[str]:
    """Dotted names of what stands in the objects of a record."""
    for column, value in cells.items():
        if isinstance(value, dict):
            yield from (f"{column}.{name}" for name in value)


def _wrong_column(
    missing: list[tuple[str, str]], columns: list[str], name: str, wanted: dict[str, str], reading: Reading
) -> UsageError:
    field, column = missing[0]
    taken = set(wanted.values()) - {column}
    close = _closest(column, field, [one for one in columns if one not in taken])
    shown = ", ".join(shorten(found) for found in columns[:30]) + (", …" if len(columns) > 30 else "")
    says = f"set `fields: {{{field}: {shorten(close) if close else '<one of these>'}}}` in params"
    if name.lower().partition(".")[2].startswith(("csv", "tsv")) and not close:
        says += (
            f"; if the first line is no header, name the columns: {reading.setting('columns', _names(wanted))}"
            f"; if cells are separated by another sign, {reading.setting('delimiter', ';')}"
        )
    return UsageError(
        f"There is no column '{column}' for field '{field}' (columns found: {shown})", where=name, do=says
    )


def _closest(column: str, field: str, columns: list[str]) -> str | None:
    """The column that was probably meant: the same but for capitals, of the field's own name, or of nearly the same."""
    same = {one.casefold(): one for one in columns} | {one.casefold().rpartition(".")[2]: one for one in columns}
    for name in (column, field):
        if name.casefold() in same:
            return same[name.casefold()]
    close = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    return close[0] if close else None


def _names(wanted: dict[str, str]) -> str:
    return f"[{', '.join(dict.fromkeys(wanted.values()))}]"


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


def _record(
    row: Row, wanted: dict[str, str], required: tuple[str, ...], texts: tuple[str, ...], reading: Reading
) -> dict[str, Any] | Unreadable:
    """The record under our names. Whatever one row does to the code that looks at it ends here: it never stops the stage."""
    try:
        record = {name: _pick(row.cells, column) for name, column in wanted.items()} if wanted else row.cells
        for name in required:
            if record[name] is None:
                return Unreadable(
                    row.line, "missing field", f"'{wanted[name]}' is null or absent: {shorten(row.cells)}"
                )
        for name, value in record.items():
            if has_broken_text(value):
                return Unreadable(row.line, "broken UTF-8", _broken(wanted.get(name, name), value, reading))
        record |= {name: text_of(record[name], wanted[name]) for name in texts}
    except BadRecord as bad:
        return Unreadable(row.line, bad.reason, bad.detail)
    except Exception as error:
        return Unreadable(row.line, type(error).__name__, shorten(error))
    return record


def _broken(name: str, value: Any, reading: Reading) -> str:
    said = f"'{name}': {shorten(value)}"
    if reading.layout.encoding is None and isinstance(value, str) and (latin := as_latin(value)):
        said = f"'{name}' would read {shorten(latin)!r} with {reading.setting('encoding', 'cp1252')}"
    return said
