"""CSV and TSV: rows of cells, and every row that is lost counted as one.

A quote that is opened by mistake swallows the rows up to the next one. Such a record is not one bad row: the lines in it that are
rows by themselves are counted and named, so that guards on the share of bad records see what was lost.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from typing import IO, Any

from components.engines.base.errors import StageError
from components.engines.sources.files import SourceFile
from components.engines.sources.rows import Row, Table, Unreadable, shorten
from components.engines.sources.text import PROBE_BYTES, Overlong, Reading, log, open_text, read_lines

_DEFAULTS = {"csv": ",", "tsv": "\t"}
_CANDIDATES = (",", ";", "\t", "|")
_SNIFFED_LINES = 50
_ENCLOSED = re.compile(r'"(?:[^"]|"")*"')
_LINE_END = re.compile(r"\r\n|\r|\n")
_PHYSICAL = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
# Lines within a cell that must look like rows before a record is taken for several: prose has a comma here and there.
_MIN_SWALLOWED = {2: 3, 3: 2}


def read_delimited(file: SourceFile, opened: IO[bytes], wanted: list[str], reading: Reading) -> Table:
    """The rows of a CSV or TSV file; `wanted` are the columns that somebody will look for."""
    head, stream = open_text(file, opened, reading)
    cut = len(head) >= PROBE_BYTES - len(codecs.BOM_UTF8)  # more follows
    whole = head[: head.rfind(b"\n") + 1] if cut else head
    if not whole.decode("utf-8", "replace").strip():  # the first line with something in it is longer than the probe
        whole = head
    lines = [line for line in _LINE_END.split(whole.decode("utf-8", "surrogateescape")) if line.strip()]
    if (says := re.fullmatch(r"sep=(.)", lines[0])) and reading.layout.delimiter is None:  # Excel's own first line
        while not stream.readline().strip():  # a blank line before it
            pass
        delimiter, lines = says[1], lines[1:]
    else:
        delimiter = _delimiter(file, lines[:_SNIFFED_LINES], wanted, reading)
    quoted = _is_quoted(file, lines, delimiter, reading, cut)
    numbered = read_lines(file, stream, reading.layout.max_record_bytes)
    if not quoted:
        return _plain(file, numbered, delimiter, reading)
    return _enclosed(file, numbered, delimiter, reading, spaced=f"{delimiter} " in lines[0])


def _delimiter(file: SourceFile, lines: list[str], wanted: list[str], reading: Reading) -> str:
    """The one that was set, or the usual one, or another one where the first lines leave no doubt."""
    usual, layout = _DEFAULTS[file.format], reading.layout
    if layout.delimiter is not None:
        return layout.delimiter
    others = [sign for sign in _CANDIDATES if sign != usual]
    if layout.columns:
        width = len(layout.columns)
        fits = [sign for sign in (usual, *others) if width > 1 and all(len(_cells(x, sign)) == width for x in lines)]
    else:
        fits = [sign for sign in (usual, *others) if wanted and set(wanted) <= set(_cells(lines[0], sign))]
    if not fits and len(_cells(lines[0], usual)) == 1:
        fits = [sign for sign in others if len({len(_cells(line, sign)) for line in lines} - {1}) == 1 < len(lines)]
        fits = [sign for sign in fits if all(len(_cells(line, sign)) > 1 for line in lines)]
    if usual in fits or len(fits) != 1:
        return usual
    log.info(
        "%s: cells are separated by %r, as its first lines show (to say so: %s)",
        file.name, fits[0], reading.setting("delimiter", "\\t" if fits[0] == "\t" else fits[0]),
    )  # fmt: skip
    return fits[0]


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _is_quoted(file: SourceFile, lines: list[str], delimiter: str, reading: Reading, cut: bool) -> bool:
    """Whether quotes enclose cells, by the first lines; `cut`: more lines follow them."""
    if reading.layout.quoted is not None:
        return reading.layout.quoted
    if file.format == "csv" or delimiter != _DEFAULTS["tsv"]:  # quotes as text are the custom of tabs alone
        return True
    plain = [line.split(delimiter) for line in lines]
    cells = [cell for row in plain for cell in row if cell]
    opened = [cell for cell in cells if cell.startswith('"')]
    rows, open_at_end = _strictly(lines, delimiter) if opened else (None, False)
    if rows is None or len(set(map(len, rows))) > 1:
        return False
    uneven, doubled = len(set(map(len, plain))) > 1, any(_doubles(cell) for cell in opened)
    if not (uneven or doubled or len(opened) == len(cells) or all(map(_ENCLOSED.fullmatch, plain[0]))):
        if len(rows) < len(plain) and (cut or not open_at_end):
            raise StageError(
                f"Its first lines are {len(plain)} rows if quotes are text, and {len(rows)} if quotes enclose cells",
                where=file.name,
                do=f"{reading.setting('quoted', 'true')} if they enclose cells, quoted=false if they are text",
            )
        return False
    log.info(
        "%s: cells are enclosed in quotes, as its first lines show (to say so: %s)",
        file.name, reading.setting("quoted", "true"),
    )  # fmt: skip
    return True


def _strictly(lines: list[str], delimiter: str) -> tuple[list[list[str]] | None, bool]:
    """The rows if `"` encloses cells, None where that cannot be; and whether the last one, which does not count, is open."""
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader([f"{line}\n" for line in lines], strict=True, delimiter=delimiter))
    except csv.Error as error:
        open_at_end = "unexpected end of data" in str(error)
        return rows if rows and open_at_end else None, open_at_end
    return rows, False


def _doubles(cell: str) -> bool:
    """Whether a cell is written as spreadsheets do: enclosed in quotes, those in the text doubled."""
    return '""' in cell[1:-1] and _ENCLOSED.fullmatch(cell) is not None


_Lines = Iterator[tuple[int, str | Overlong]]


def _plain(file: SourceFile, lines: _Lines, delimiter: str, reading: Reading) -> Table:
    """Each line a row, a quote an ordinary character: text/tab-separated-values as IANA has it."""
    if reading.layout.columns:
        return Table(list(reading.layout.columns), _plain_rows(lines, list(reading.layout.columns), delimiter, reading))
    first = next(line for _, line in lines if isinstance(line, Overlong) or line.strip())
    if isinstance(first, Overlong):
        raise _unreadable_header(file, f"it has {first.size} bytes")
    header = [name.strip() for name in _bare(first).split(delimiter)]
    return Table(header, _plain_rows(lines, header, delimiter, reading))


def _plain_rows(lines: _Lines, header: list[str], delimiter: str, reading: Reading) -> Iterator[Row | Unreadable]:
    doubtful = reading.layout.quoted is None
    for number, line in lines:
        if isinstance(line, Overlong):
            yield _overlong(number, line)
            continue
        text = _bare(line)
        cells = text.split(delimiter)
        if len(cells) != len(header) and "\r" in text:  # rows of a tool that ends them otherwise
            pieces = [piece for piece in text.split("\r") if piece]
            yield from (_row(number, header, piece.split(delimiter)) for piece in pieces)
        elif doubtful and _seems_quoted(cells, header):
            said = f"{reading.setting('quoted', 'true')} if quotes enclose cells, quoted=false if they are text: {text}"
            yield Unreadable(number, "bad quoting", shorten(said))
        elif text or len(header) == 1:
            yield _row(number, header, cells)


def _seems_quoted(cells: list[str], header: list[str]) -> bool:
    """Whether a row reads as if quotes enclosed its cells, in a file whose beginning did not show that."""
    if len(cells) != len(header):
        return any(cell.startswith('"') or cell.endswith('"') for cell in cells)
    return any(_doubles(cell) for cell in cells)


def _bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _overlong(number: int, line: Overlong) -> Unreadable:
    return Unreadable(number, "record too long", shorten(f"{line.size} bytes: {line.beginning}"))


def _unreadable_header(file: SourceFile, why: object) -> StageError:
    return StageError(f"The header line cannot be read: {why}", where=file.name, do="check `source` and `format:`")


def _row(line: int, header: list[str], cells: list[str]) -> Row | Unreadable:
    if len(cells) != len(header):
        shown = shorten(" | ".join(cells))
        return Unreadable(line, "wrong number of cells", f"{len(cells)} instead of {len(header)}: {shown}")
    if cells == header:  # of another file behind this one
        return Unreadable(line, "header again", shorten(" | ".join(cells)))
    return Row(line, dict(zip(header, cells, strict=True)))


class _TooLong(Exception):
    """A record is longer than it may be."""


class _Record:
    """Lines for the csv module, which remembers those of the current record. A lone carriage return ends a line too."""

    def __init__(self, lines: _Lines, max_bytes: int) -> None:
        self.held: list[str] = []
        self.start, self.number, self.size, self.max_bytes = 1, 0, 0, max_bytes
        self._lines = self._physical(lines)

    def __iter__(self) -> _Record:
        return self

    def _physical(self, lines: _Lines) -> Iterator[str | Overlong]:
        for _, line in lines:
            if isinstance(line, Overlong) or "\r" not in line.removesuffix("\n").removesuffix("\r"):
                yield line
            else:
                yield from _PHYSICAL.findall(line)

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if isinstance(line, Overlong):
            self.held.append(line.beginning)
            raise _TooLong(f"line {self.number} has {line.size} bytes")
        self.held.append(line)
        self.size += len(line)
        if self.size > self.max_bytes:
            raise _TooLong(f"more than {self.max_bytes} characters in lines {self.start} to {self.number}")
        return line

    def begin(self) -> None:
        self.held, self.start, self.size = [], self.number + 1, 0


def _enclosed(file: SourceFile, lines: _Lines, delimiter: str, reading: Reading, *, spaced: bool) -> Table:
    """Rows whose cells may be enclosed in quotes, and then hold delimiters, line ends and doubled quotes (RFC 4180).

    `spaced`: the header has a space behind its delimiters. RFC 4180 would take a quote behind one for text.
    """
    csv.field_size_limit(2**31 - 1)  # `max_record_bytes` is the limit here; the module's own is 128 KiB
    record = _Record(lines, reading.layout.max_record_bytes)
    reader = csv.reader(record, strict=True, delimiter=delimiter, skipinitialspace=spaced)
    header = list(reading.layout.columns or ())
    try:
        header = header or [name.strip() for name in next(cells for cells in reader if any(map(str.strip, cells)))]
    except (csv.Error, StopIteration, _TooLong) as error:
        raise _unreadable_header(file, error) from None
    return Table(header, _enclosed_rows(file, reader, record, header, delimiter))


def _enclosed_rows(
    file: SourceFile, reader: Any, record: _Record, header: list[str], delimiter: str
) -> Iterator[Row | Unreadable]:
    while True:
        record.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _TooLong as error:
            yield from _lost(record, header, delimiter, "record too long", str(error))
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                # The rest of the file went into this one cell: going on would lose it in silence.
                raise StageError(
                    "A quote is opened and never closed",
                    where=f"{file.name}:{record.start}",
                    do="close or double that quote",
                ) from None
            why = f"lines {record.start} to {record.number}: {error}"
            yield from _lost(record, header, delimiter, "bad quoting", why)
        else:
            if len(record.held) > 1 and (len(cells) != len(header) or _swallows(record, header, delimiter)):
                why = f"a quote opened in line {record.start} is closed in line {record.number}, with rows between"
                reason = "bad quoting" if _swallows(record, header, delimiter) else "wrong number of cells"
                yield from _lost(record, header, delimiter, reason, why)
            elif cells:  # the csv module gives [] for a blank line
                yield _row(record.start, header, cells)


def _swallows(record: _Record, header: list[str], delimiter: str) -> bool:
    """Whether the lines of this record, but for the first, look like rows of their own."""
    inside = record.held[1:]
    rows = sum(_is_row(line, header, delimiter) for line in inside)
    enough = len(inside) >= _MIN_SWALLOWED.get(len(header), 1) and len(header) > 1
    return enough and rows >= (len(inside) if len(inside) < 10 else 0.8 * len(inside))


def _is_row(line: str, header: list[str], delimiter: str) -> bool:
    text = line.rstrip("\r\n")
    return bool(text) and len(header) in (len(_cells(text, delimiter)), len(text.split(delimiter)))


def _lost(record: _Record, header: list[str], delimiter: str, reason: str, why: str) -> Iterator[Unreadable]:
    """One Unreadable for the record's first line, and one for every further line in it that is a row by itself."""
    for number, line in enumerate(record.held, start=record.start):
        if number == record.start or _is_row(line, header, delimiter):
            yield Unreadable(number, reason, shorten(f"{why}: {line.rstrip()}"))
