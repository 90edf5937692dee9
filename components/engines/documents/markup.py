"""HTML, Markdown, code and plain text as pages: the structure that they state is the structure that is kept."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from components.engines.base.errors import BadRecord
from components.engines.documents.page import Block, Box, Cell, Page, Table

MAX_LINE = 1_000_000  # characters; longer lines are data, not text
_NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"\s*(```|~~~)")
_DIVIDER = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
_SILENT = frozenset({"script", "style", "template", "noscript", "head", "svg"})
_BREAKING = frozenset("p div section article li ul ol br blockquote header footer main aside nav figure dt dd".split())


def decode_text(data: bytes) -> str:
    """Raises BadRecord: `not UTF-8 text`, `line too long`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord("not UTF-8 text", f"byte {error.start}") from None
    if "\0" in text:
        raise BadRecord("not UTF-8 text", "it holds zero bytes")
    longest = max(map(len, text.splitlines()), default=0)
    if longest > MAX_LINE:
        raise BadRecord("line too long", f"{longest} characters, at most {MAX_LINE}")
    return text


def read_markup(data: bytes, kind: str) -> Page:
    """The whole file as one page. `kind`: html, markdown, code, text."""
    text = decode_text(data)
    notes: tuple[str, ...] = ()
    if kind == "html":
        parser = _Html()
        parser.feed(text)
        parser.close()
        parser.flush()
        blocks, notes = parser.blocks, tuple(sorted(parser.ignored))
    elif kind == "markdown":
        blocks = _markdown(text)
    elif kind == "code":
        blocks = [Block("code", text, _NOWHERE)] if text.strip() else []
    else:
        blocks = [Block("text", part.strip(), _NOWHERE) for part in re.split(r"\n\s*\n", text) if part.strip()]
    return Page(1, 0.0, 0.0, "markup", tuple(blocks), notes=notes)


def _markdown(text: str) -> list[Block]:
    blocks: list[Block] = []
    lines: list[str] = []
    rows: list[list[str]] = []
    fenced = False

    def close() -> None:
        nonlocal rows
        body = "\n".join(lines).strip("\n")
        if body.strip():
            blocks.append(Block("code" if fenced else "text", body if fenced else body.strip(), _NOWHERE))
        lines.clear()
        if rows:
            _add_table(blocks, rows)
            rows = []

    for line in text.splitlines():
        if _FENCE.match(line):
            close()
            fenced = not fenced
        elif fenced:
            lines.append(line)
        elif heading := _HEADING.match(line):
            close()
            blocks.append(Block("heading", heading[2], _NOWHERE, level=len(heading[1])))
        elif line.lstrip().startswith("|"):
            if lines:
                close()
            if not _DIVIDER.match(line):
                rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif not line.strip() or rows:
            close()
            if line.strip():
                lines.append(line)
        else:
            lines.append(line)
    close()
    return blocks


def _add_table(blocks: list[Block], rows: list[list[str]]) -> None:
    """The table, with the paragraph right above as its title where that is one line that ends in no full stop."""
    title = ""
    if blocks and blocks[-1].kind == "text" and "\n" not in blocks[-1].text and not blocks[-1].text.endswith("."):
        title = blocks.pop().text.strip("*_ :")
    cells = tuple(Cell(row, column, text) for row, texts in enumerate(rows) for column, text in enumerate(texts))
    blocks.append(Block("table", "", _NOWHERE, title=title, table=Table(cells)))


class _Html(HTMLParser):
    """Visible text by block; what is no text is named in `ignored`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.ignored: set[str] = set()
        self._silent: list[str] = []
        self._text: list[str] = []
        self._heading = 0
        self._preformatted = 0
        self._tables: list[_HtmlTable] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            if tag == "script":
                self.ignored.add("scripts ignored")
            self._silent.append(tag)
        elif re.fullmatch(r"h[1-6]", tag):
            self.flush()
            self._heading = int(tag[1])
        elif tag == "pre":
            self.flush()
            self._preformatted += 1
        elif tag == "table":
            self.flush()
            self._tables.append(_HtmlTable())
        elif self._tables and tag in ("tr", "td", "th", "caption"):
            self._tables[-1].open(tag, dict(attributes))
        elif tag in _BREAKING and not self._tables:
            self.flush()

    def handle_endtag(self, tag: str) -> None:
        if self._silent and tag == self._silent[-1]:
            self._silent.pop()
        elif tag == "table" and self._tables:
            made = self._tables.pop().block()
            if made is not None:
                self.blocks.append(made)
        elif tag == "pre" or re.fullmatch(r"h[1-6]", tag) or (tag in _BREAKING and not self._tables):
            self.flush()
            self._heading = 0
            self._preformatted = max(self._preformatted - (tag == "pre"), 0)

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._tables:
            self._tables[-1].add(data)
        else:
            self._text.append(data)

    def flush(self) -> None:
        raw = "".join(self._text)
        text = raw.strip("\n") if self._preformatted else " ".join(raw.split())
        self._text.clear()
        if text.strip():
            kind = "heading" if self._heading else "code" if self._preformatted else "text"
            self.blocks.append(Block(kind, text, _NOWHERE, level=self._heading))  # type: ignore[arg-type]


class _HtmlTable:
    """A table being read; `rowspan` and `colspan` are kept within reason."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.title = ""
        self._taken: set[tuple[int, int]] = set()
        self._row, self._column = -1, 0
        self._text: list[str] | None = None
        self._spans = (1, 1)
        self._is_caption = False

    def open(self, tag: str, attributes: dict[str, str | None]) -> None:
        self._close()
        self._is_caption = tag == "caption"
        if tag == "tr":
            self._row, self._column = self._row + 1, 0
        else:
            self._text = []
            spans = [attributes.get(name) or "1" for name in ("rowspan", "colspan")]
            rows, columns = (min(max(int(span), 1), 100) if span.isdigit() else 1 for span in spans)
            self._spans = rows, columns

    def add(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def _close(self) -> None:
        if self._text is None:
            return
        text, self._text = " ".join("".join(self._text).split()), None
        if self._is_caption:
            self.title = text
            return
        while (self._row, self._column) in self._taken:
            self._column += 1
        rows, columns = self._spans
        self.cells.append(Cell(max(self._row, 0), self._column, text, rows, columns))
        self._taken |= {(self._row + r, self._column + c) for r in range(rows) for c in range(columns)}

    def block(self) -> Block | None:
        self._close()
        said = [cell for cell in self.cells if cell.text]
        return Block("table", "", _NOWHERE, title=self.title, table=Table(tuple(self.cells))) if said else None
