"""Prints documents as PDF (reportlab) and keeps what each page says: its text in reading order, its tables cell by cell."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from components.engines.documents.page import Cell, Table

WIDTH, HEIGHT, MARGIN = 595.0, 842.0, 60.0  # A4 in points
BODY, HEADING = 11.0, 16.0


@dataclass
class PageTruth:
    """What a printed page says."""

    lines: list[str] = field(default_factory=list)
    tables: list[tuple[str, Table]] = field(default_factory=list)  # with their titles

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Printer:
    """Writes one document from top to bottom; `finish` gives its bytes, `pages` the truth about it."""

    def __init__(self, title: str) -> None:
        from reportlab.pdfgen.canvas import Canvas

        self._buffer = io.BytesIO()
        self._canvas = Canvas(self._buffer, pagesize=(WIDTH, HEIGHT), invariant=1)  # the same bytes at any time
        self._canvas.setTitle(title)
        self.pages: list[PageTruth] = []
        self._y = 0.0
        self._new_page()

    def _new_page(self) -> None:
        if self.pages:
            self._canvas.showPage()
        self.pages.append(PageTruth())
        self._y = MARGIN

    def _room(self, height: float) -> None:
        if self._y + height > HEIGHT - MARGIN:
            self._new_page()

    def _line(self, text: str, size: float, x: float = MARGIN, font: str = "Helvetica") -> None:
        self._room(1.5 * size)
        self._canvas.setFont(font, size)
        self._canvas.drawString(x, HEIGHT - self._y - size, text)
        self._y += 1.4 * size
        self.pages[-1].lines.append(text)

    def heading(self, text: str, level: int = 1) -> None:
        self._y += 10
        self._room(90)  # a heading does not stand alone at the foot of a page
        self._line(text, HEADING if level == 1 else 13.0, font="Helvetica-Bold")
        self._y += 3

    def paragraph(self, text: str) -> None:
        from reportlab.lib.utils import simpleSplit

        lines = simpleSplit(text, "Helvetica", BODY, WIDTH - 2 * MARGIN)
        self._room(1.4 * BODY * len(lines) + 6)
        for line in lines:
            self._line(line, BODY)
        self._y += 6

    def form(self, fields: list[tuple[str, str]]) -> None:
        """Labels with what was filled in behind them, on a rule each."""
        self._room(22.0 * len(fields))
        for label, value in fields:
            top = self._y
            self._canvas.setFont("Helvetica", BODY)
            self._canvas.drawString(MARGIN, HEIGHT - top - BODY, f"{label}:")
            self._canvas.drawString(MARGIN + 120, HEIGHT - top - BODY, value)
            self._canvas.line(MARGIN + 118, HEIGHT - top - BODY - 3, WIDTH - MARGIN, HEIGHT - top - BODY - 3)
            self.pages[-1].lines.append(f"{label}: {value}")
            self._y += 22

    def table(self, title: str, table: Table, ruled: bool = True) -> None:
        """A table under its title; cells may span. `ruled` draws the grid, else only rules under the first row and at the end."""
        width, row_height = (WIDTH - 2 * MARGIN) / table.width, 18.0
        self._room(row_height * table.height + 40)
        self._y += 6
        self._line(title, BODY, font="Helvetica-Bold")
        top = self._y + 2
        canvas = self._canvas
        canvas.setFont("Helvetica", 10)
        for cell in table.cells:
            x, y = MARGIN + cell.column * width, top + cell.row * row_height
            w, h = cell.columns * width, cell.rows * row_height
            if ruled:
                canvas.rect(x, HEIGHT - y - h, w, h)
            canvas.drawString(x + 4, HEIGHT - y - h / 2 - 3.5, cell.text)
        bottom = top + table.height * row_height
        if not ruled:
            for y in (top, top + row_height, bottom):
                canvas.line(MARGIN, HEIGHT - y, WIDTH - MARGIN, HEIGHT - y)
        self._y = bottom + 12
        truth = self.pages[-1]
        truth.tables.append((title, table))
        for row in range(table.height):
            truth.lines += [cell.text for cell in table.cells if cell.row == row and cell.text]

    def picture(self, image: Any, caption: str) -> None:
        """A diagram (a Pillow image) with its caption below."""
        from reportlab.lib.utils import ImageReader

        self._room(150)
        self._canvas.drawImage(ImageReader(image), MARGIN + 150, HEIGHT - self._y - 120, 120, 120)
        self._y += 126
        self._line(caption, BODY)

    def finish(self) -> bytes:
        self._canvas.showPage()
        self._canvas.save()
        return self._buffer.getvalue()


def plain_table(header: list[str], rows: list[list[str]]) -> Table:
    grid = [header, *rows]
    return Table(tuple(Cell(row, column, text) for row, texts in enumerate(grid) for column, text in enumerate(texts)))


def grouped_table(group_label: str, over: str, header: list[str], groups: list[tuple[str, list[list[str]]]]) -> Table:
    """First column: a cell per group that spans its rows; above the other columns but the first of them one cell `over`."""
    cells = [Cell(0, 0, group_label, rows=2), Cell(0, 1, header[0], rows=2), Cell(0, 2, over, columns=len(header) - 1)]
    cells += [Cell(1, 2 + number, text) for number, text in enumerate(header[1:])]
    row = 2
    for name, rows in groups:
        cells.append(Cell(row, 0, name, rows=len(rows)))
        for texts in rows:
            cells += [Cell(row, 1 + column, text) for column, text in enumerate(texts)]
            row += 1
    return Table(tuple(sorted(cells, key=lambda cell: (cell.row, cell.column))))
