"""What was found on a page -> its blocks in reading order: headings, paragraphs, tables with their titles, figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from components.engines.documents.page import Block, Box, Line, around, overlap
from components.engines.documents.segments import Segment, in_reading_order, segments_of
from components.engines.documents.tables import Found

_LARGER = 1.15  # than the page's text: a heading, where the source tells sizes
_LARGER_BOX = 1.3  # the same of boxes on a picture, which differ with the letters they hold
_TITLE_GAP, _CAPTION_GAP = 30.0, 24.0  # points between a table or figure and what names it
_TITLE = re.compile(r"(table|tab\.|tabelle|cuadro|tabla|tableau)\s*[\dIVX]+", re.IGNORECASE)
_CAPTION = re.compile(r"(figure|fig\.|abbildung|abb\.|figura|diagram)\s*[\dIVX]*", re.IGNORECASE)
_MAX_HEADING_WORDS = 14


def blocks_of(words: Sequence[Line], tables: Sequence[Found], figures: Sequence[Box], *, sized: bool) -> list[Block]:
    """`sized` says that words carry the sizes of their type. What belongs to a table stands in its block and nowhere else."""
    taken = [box for box, _ in tables]
    free = [word for word in words if not any(overlap(word.box, box) > 0.5 for box in taken)]
    rows = in_reading_order(segments_of(free))
    text = median([segment.size for row in rows for segment in row for _ in segment.words]) if rows else 0.0
    paragraphs = _paragraphs(rows, text * (_LARGER if sized else _LARGER_BOX))
    placed: list[Block] = []
    for box, table in tables:
        title, paragraphs = _titled(box, paragraphs)
        placed.append(Block("table", "", box, title=title, table=table))
    for box in figures:
        caption, paragraphs = _captioned(box, paragraphs)
        placed.append(Block("figure", "", box, title=caption))
    return _with_levels(_merged(paragraphs, placed), sized)


def _paragraphs(rows: list[list[Segment]], heading_size: float) -> list[Block]:
    blocks: list[Block] = []
    current: list[list[Segment]] = []

    def close() -> None:
        if current:
            blocks.append(_block(current, heading_size))
            current.clear()

    for row in rows:
        if current and not _goes_on(current[-1], row, heading_size):
            close()
        current.append(row)
    close()
    return blocks


def _goes_on(above: list[Segment], row: list[Segment], heading_size: float) -> bool:
    """Whether a row belongs to the paragraph of the one above."""
    height = max(segment.height for segment in above)
    gap = row[0].box[1] - max(segment.box[3] for segment in above)
    same = _is_heading(above, heading_size) == _is_heading(row, heading_size)
    return same and -height < gap < 0.75 * height and row[0].box[0] < around(one.box for one in above)[2]


def _is_heading(row: list[Segment], heading_size: float) -> bool:
    text = " ".join(segment.text for segment in row)
    if len(text.split()) > _MAX_HEADING_WORDS or text.endswith((".", ",", ";")) or not any(map(str.isalpha, text)):
        return False
    return all(segment.bold for segment in row) or min(segment.size for segment in row) > heading_size


def _block(rows: list[list[Segment]], heading_size: float) -> Block:
    text = "\n".join(" ".join(segment.text for segment in row) for row in rows)
    box = around(segment.box for row in rows for segment in row)
    if all(_is_heading(row, heading_size) for row in rows) and len(rows) <= 3:
        size = max(segment.size for row in rows for segment in row)
        return Block("heading", text.replace("\n", " "), box, level=max(round(size * 10), 1))  # ranked below
    return Block("text", text, box)


def _titled(box: Box, blocks: list[Block]) -> tuple[str, list[Block]]:
    """A table's title (what says that it is one, or else a heading right above it), and the other blocks."""

    def near(block: Block, gap: float) -> bool:
        return -4 < gap < _TITLE_GAP and block.box[0] < box[2] and block.box[2] > box[0]

    above = [block for block in blocks if near(block, box[1] - block.box[3])]
    below = [block for block in blocks if near(block, block.box[1] - box[3])]
    named = [block for block in [*above[::-1], *below] if _TITLE.match(block.text)]
    headed = [block for block in above if block.kind == "heading"]
    if not named and not headed:
        return "", blocks
    chosen = (named or headed)[0]
    return chosen.text.replace("\n", " "), [block for block in blocks if block is not chosen]


def _captioned(box: Box, blocks: list[Block]) -> tuple[str, list[Block]]:
    for block in blocks:
        gap = min(abs(block.box[1] - box[3]), abs(box[1] - block.box[3]))
        if gap < _CAPTION_GAP and _CAPTION.match(block.text) and block.box[0] < box[2] and block.box[2] > box[0]:
            return block.text.replace("\n", " "), [other for other in blocks if other is not block]
    return "", blocks


def _merged(paragraphs: list[Block], placed: list[Block]) -> list[Block]:
    """Tables and figures where the flow of text passes them: before what begins first below their top in their column."""
    merged = list(paragraphs)
    for block in sorted(placed, key=lambda one: one.box[1], reverse=True):
        at = next(
            (
                place
                for place, other in enumerate(merged)
                if other.box[1] >= block.box[1] and other.box[0] < block.box[2] and other.box[2] > block.box[0]
            ),
            len(merged),
        )
        merged.insert(at, block)
    return merged


def _with_levels(blocks: list[Block], sized: bool) -> list[Block]:
    """Headings' sizes as levels from 1; sizes of boxes on pictures within a quarter of each other are one."""
    step = 1.05 if sized else 1.25
    sizes: list[int] = []
    for size in sorted({block.level for block in blocks if block.kind == "heading"}, reverse=True):
        if not sizes or sizes[-1] > size * step:
            sizes.append(size)

    def level(size: int) -> int:
        return next((place for place, at in enumerate(sizes, 1) if at <= size * step), len(sizes))

    return [replace(block, level=level(block.level)) if block.kind == "heading" else block for block in blocks]
