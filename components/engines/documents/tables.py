"""Tables of a page: by their ruling lines where they have a grid, else by the columns in which their words stand.

A grid is what pdfplumber makes of lines, from vectors or found on a picture; a cell that lacks lines between its parts spans
rows and columns. A table without a grid is a run of lines that break into segments at the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from components.engines.documents.page import Box, Cell, Line, Table, around, overlap
from components.engines.documents.segments import Segment, joined, rows_of, segments_of

Found = tuple[Box, Table]

_SNAP = 4.0  # points within which lines count as one
_MIN_SIDE = 5.0  # of a cell
_PROSE = 7.0  # mean words of a segment from which a "table" is columns of prose
_MAX_GAP = 2.6  # of the lines' height between rows of a table


def find_tables(words: Sequence[Line], edges: list[dict[str, Any]]) -> list[Found]:
    """Every table with its box, from top to bottom; no word belongs to two."""
    ruled, loose = ruled_tables(words, edges), aligned_tables(words)
    ruled = [found for found in ruled if not any(_swallows(other, found) for other in loose)]
    free = [word for word in words if not any(overlap(word.box, box) > 0.5 for box, _ in ruled)]
    return sorted([*ruled, *aligned_tables(free)], key=lambda found: found[0][1])


def _swallows(other: Found, found: Found) -> bool:
    """Whether `found` is but a ruled corner of the other table."""
    (outer, larger), (inner, smaller) = other, found
    return overlap(inner, outer) > 0.7 and len(larger.cells) > 2 * sum(bool(cell.text) for cell in smaller.cells)


def ruled_tables(words: Sequence[Line], edges: list[dict[str, Any]]) -> list[Found]:
    """Tables whose cells lie between lines."""
    from pdfplumber.table import cells_to_tables, edges_to_intersections, intersections_to_cells, merge_edges

    straight = [edge for edge in edges if edge["orientation"]]
    merged = merge_edges(straight, _SNAP, _SNAP, _SNAP, _SNAP)
    merged = [edge for edge in merged if max(edge["x1"] - edge["x0"], edge["bottom"] - edge["top"]) >= _MIN_SIDE]
    cells = intersections_to_cells(edges_to_intersections(merged, _SNAP, _SNAP))
    found = []
    for boxes in cells_to_tables(cells):
        table = _grid(boxes, words)
        if table is not None:
            found.append((around(boxes), table))
    return _outermost(found)


def _grid(boxes: list[Box], words: Sequence[Line]) -> Table | None:
    """Cells of these boxes with the words inside; None for frames and bars, which are no tables."""
    columns, rows = (_steps([side for box in boxes for side in (box[low], box[low + 2])]) for low in (0, 1))
    cells = []
    for box in boxes:
        inside = [word for word in words if overlap(word.box, box) > 0.5]
        left, right = _place(columns, box[0]), _place(columns, box[2])
        top, bottom = _place(rows, box[1]), _place(rows, box[3])
        cells.append(Cell(top, left, joined(inside), bottom - top, right - left))
    cells.sort(key=lambda cell: (cell.row, cell.column))
    cells = [cell for cell in cells if cell.rows > 0 and cell.columns > 0]
    said = [cell for cell in cells if cell.text]
    if len({cell.row for cell in said}) < 2 or len({cell.column for cell in said}) < 2 or len(said) < 4:
        return None
    return _without_empty(Table(tuple(cells)))


def _steps(values: list[float]) -> list[float]:
    steps: list[float] = []
    for value in sorted(values):
        if not steps or value - steps[-1] > _SNAP:
            steps.append(value)
    return steps


def _place(steps: list[float], value: float) -> int:
    return min(range(len(steps)), key=lambda number: abs(steps[number] - value))


def _without_empty(table: Table) -> Table:
    """The table without rows and columns in which nothing begins and nothing stands."""
    grid = table.grid()
    rows = [number for number in range(table.height) if any(grid[number])]
    columns = [number for number in range(table.width) if any(row[number] for row in grid)]
    cells = []
    for cell in table.cells:
        inside_rows = [row for row in rows if cell.row <= row < cell.row + cell.rows]
        inside_columns = [column for column in columns if cell.column <= column < cell.column + cell.columns]
        if inside_rows and inside_columns:
            at = rows.index(inside_rows[0]), columns.index(inside_columns[0])
            cells.append(Cell(*at, cell.text, len(inside_rows), len(inside_columns)))
    return Table(tuple(cells))


def _outermost(found: list[Found]) -> list[Found]:
    """Without tables that lie in the cells of others."""
    return [
        (box, table)
        for box, table in found
        if not any(box != other and overlap(box, other) > 0.8 for other, _ in found)
    ]


def aligned_tables(words: Sequence[Line]) -> list[Found]:
    """Tables without a grid: at least three rows that break into segments which stand in common columns."""
    found = []
    rows = rows_of(segments_of(words))
    for region in _regions(rows):
        made = _columns(region)
        if made is not None:
            found.append(made)
    return found


def _regions(rows: list[list[Segment]]) -> list[list[list[Segment]]]:
    """Runs of rows with several segments; a row with one may stand between them, if it is short or begins where they do."""
    regions: list[list[list[Segment]]] = []
    current: list[list[Segment]] = []
    waiting: list[list[Segment]] = []
    for row in rows:
        if current and row[0].box[1] - (waiting or current)[-1][0].box[3] > _MAX_GAP * row[0].height:
            regions.append(current)
            current, waiting = [], []
        if len(row) >= 2:
            current += [*waiting, row] if current else [row]
            waiting = []
        elif current and len(waiting) < 2 and _within(row[0], current):
            waiting.append(row)
        elif current:
            regions.append(current)
            current, waiting = [], []
    return [region for region in [*regions, current] if sum(len(row) >= 2 for row in region) >= 3]


def _within(segment: Segment, rows: list[list[Segment]]) -> bool:
    """Whether a lone segment may be a cell: it stays within one side of the rows above."""
    box = around(one.box for row in rows for one in row)
    return segment.box[2] - segment.box[0] < 0.6 * (box[2] - box[0]) and segment.box[0] < box[2]


def _columns(region: list[list[Segment]]) -> Found | None:
    segments = [segment for row in region for segment in row]
    if sum(len(segment.text.split()) for segment in segments) / len(segments) > _PROSE:
        return None
    columns = _spans(segments, len(region))
    if sum(row[0].text.endswith(":") for row in region) > len(region) / 2:
        return None  # a form: labels with what was filled in
    if len(columns) < 2 or (len(columns) == 2 and median(len(one.text.split()) for one in segments) > 4):
        return None
    cells: dict[tuple[int, int], tuple[str, int]] = {}
    for number, row in enumerate(region):
        for segment in row:
            inside = [
                place for place, (x0, x1) in enumerate(columns) if min(segment.box[2], x1) - max(segment.box[0], x0) > 1
            ] or [min(range(len(columns)), key=lambda place: abs(columns[place][0] - segment.box[0]))]
            text, span = cells.get((number, inside[0]), ("", 1))
            cells[number, inside[0]] = (f"{text} {segment.text}".strip(), max(span, len(inside)))
    table = Table(tuple(Cell(*at, text, 1, span) for at, (text, span) in sorted(cells.items())))
    if sum(1 for row in region if len(row) >= 2) < 0.5 * len(region):
        return None
    return around(segment.box for segment in segments), table


def _spans(segments: list[Segment], num_rows: int) -> list[tuple[float, float]]:
    """The columns' extents. Short segments say where columns are; one that reaches over several of them spans them."""
    columns: list[list[float]] = []
    for segment in sorted(segments, key=lambda one: one.box[2] - one.box[0]):
        x0, _, x1, _ = segment.box
        touched = [column for column in columns if min(x1, column[1]) - max(x0, column[0]) > 0.5]
        if not touched:
            columns.append([x0, x1, 1])
        elif len(touched) == 1:
            touched[0][0], touched[0][1] = min(x0, touched[0][0]), max(x1, touched[0][1])
            touched[0][2] += 1
    least = 2 if num_rows > 4 else 1  # what stands alone in a long table is no column
    return sorted((x0, x1) for x0, x1, count in columns if count >= least)
