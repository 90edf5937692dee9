"""A page as it was read: blocks in reading order, each with its box. What every stage after parsing works on.

Lengths are points (1/72 inch) from the top left corner of the page as it is to be read: turned upright, skew mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Kind = Literal["heading", "text", "table", "figure", "code", "furniture"]


@dataclass(frozen=True)
class Line:
    """One line of text, with its size where the source tells (else the height of its box)."""

    text: str
    box: Box
    size: float = 0.0
    bold: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table: the first row and column it stands in, counted from 0, and how many it spans."""

    row: int
    column: int
    text: str
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True)
class Table:
    """Cells in reading order."""

    cells: tuple[Cell, ...]

    @property
    def height(self) -> int:
        return max((cell.row + cell.rows for cell in self.cells), default=0)

    @property
    def width(self) -> int:
        return max((cell.column + cell.columns for cell in self.cells), default=0)

    def grid(self) -> list[list[str]]:
        """Texts by row and column; a cell that spans several is repeated in each."""
        grid = [[""] * self.width for _ in range(self.height)]
        for cell in self.cells:
            for row in range(cell.row, cell.row + cell.rows):
                for column in range(cell.column, cell.column + cell.columns):
                    grid[row][column] = cell.text
        return grid


@dataclass(frozen=True)
class Block:
    """What belongs together on a page. `level` is a heading's depth from 1, `title` what stands above a table."""

    kind: Kind
    text: str
    box: Box
    level: int = 0
    title: str = ""
    table: Table | None = None


@dataclass(frozen=True)
class Page:
    """One page. `source`: where its text comes from; `turned`: by how many degrees clockwise it was turned to stand upright;
    `skew`: the angle in degrees that was mended; `notes`: what was ignored or is odd about it."""

    number: int  # from 1
    width: float
    height: float
    source: Literal["text layer", "ocr", "markup"]
    blocks: tuple[Block, ...]
    turned: int = 0
    skew: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        return "\n".join(block.text for block in self.blocks if block.text)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Page:
        blocks = tuple(_block(block) for block in body["blocks"])
        return cls(**{**body, "blocks": blocks, "notes": tuple(body["notes"])})


def _block(body: dict[str, Any]) -> Block:
    table = body["table"]
    cells = None if table is None else Table(tuple(Cell(**cell) for cell in table["cells"]))
    return Block(**{**body, "box": tuple(body["box"]), "table": cells})


def around(boxes: Iterable[Sequence[float]]) -> Box:
    """The smallest box that holds all of these."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return round(min(x0), 2), round(min(y0), 2), round(max(x1), 2), round(max(y1), 2)


def overlap(inner: Sequence[float], outer: Sequence[float]) -> float:
    """Share of `inner` that lies in `outer`."""
    width = min(inner[2], outer[2]) - max(inner[0], outer[0])
    height = min(inner[3], outer[3]) - max(inner[1], outer[1])
    area = (inner[2] - inner[0]) * (inner[3] - inner[1])
    return width * height / area if width > 0 and height > 0 and area > 0 else 0.0
