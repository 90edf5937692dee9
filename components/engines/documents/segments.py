"""Words into segments (what stands together on a line), segments into rows, and rows into the order in which they are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from components.engines.documents.page import Box, Line, around

_SAME_LINE = 0.5  # share of the lower height by which two words of a line overlap
_WORD_GAP = 0.9  # of the words' height: wider gaps separate segments
_MIN_GUTTER = 9.0  # points between columns of prose
_MIN_COLUMN_ROWS = 3
_MAX_CUTS = 12


@dataclass(frozen=True)
class Segment:
    """Neighbouring words of one line."""

    words: tuple[Line, ...]
    box: Box

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    @property
    def size(self) -> float:
        """Of the type where the source tells it, else the height of the box."""
        return median(word.size or word.box[3] - word.box[1] for word in self.words)

    @property
    def bold(self) -> bool:
        return all(word.bold for word in self.words)


def lines_of(words: Iterable[Line]) -> list[list[Line]]:
    """Words by line, from left to right; lines from top to bottom."""
    lines: list[list[Line]] = []
    spans: list[list[float]] = []
    for word in sorted(words, key=lambda one: ((one.box[1] + one.box[3]) / 2, one.box[0])):
        top, bottom = word.box[1], word.box[3]
        for place in range(len(lines) - 1, max(len(lines) - 4, -1), -1):
            low = min(bottom - top, spans[place][1] - spans[place][0])
            if min(bottom, spans[place][1]) - max(top, spans[place][0]) > _SAME_LINE * low:
                lines[place].append(word)
                break
        else:
            lines.append([word])
            spans.append([top, bottom])
    return [sorted(line, key=lambda one: one.box[0]) for line in lines]


def segments_of(words: Iterable[Line]) -> list[Segment]:
    found = []
    for line in lines_of(words):
        current = [line[0]]
        for word in line[1:]:
            height = max(word.size or word.box[3] - word.box[1], 1.0)
            if word.box[0] - max(one.box[2] for one in current) > _WORD_GAP * height:
                found.append(_segment(current))
                current = []
            current.append(word)
        found.append(_segment(current))
    return found


def _segment(words: list[Line]) -> Segment:
    return Segment(tuple(words), around(word.box for word in words))


def rows_of(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments by line: from top to bottom, from left to right."""
    rows: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda one: ((one.box[1] + one.box[3]) / 2, one.box[0])):
        last = rows[-1][0] if rows else None
        low = min(segment.height, last.height) if last else 0
        if last and min(segment.box[3], last.box[3]) - max(segment.box[1], last.box[1]) > _SAME_LINE * low:
            rows[-1].append(segment)
        else:
            rows.append([segment])
    return [sorted(row, key=lambda one: one.box[0]) for row in rows]


def joined(words: Sequence[Line]) -> str:
    """Their text in lines."""
    return "\n".join(" ".join(word.text for word in line) for line in lines_of(words))


def in_reading_order(segments: Sequence[Segment], depth: int = 0) -> list[list[Segment]]:
    """Rows as they are read: column after column where a page has columns (recursive X-Y cut, Nagy and Seth 1984)."""
    if len(segments) < 2 * _MIN_COLUMN_ROWS or depth > _MAX_CUTS:
        return rows_of(segments)
    if (x := _gutter(segments)) is not None:
        left, right = [one for one in segments if one.box[2] <= x], [one for one in segments if one.box[2] > x]
        return in_reading_order(left, depth + 1) + in_reading_order(right, depth + 1)
    if (band := _band_with_gutter(segments)) is not None:
        y0, y1 = band
        above, below = [one for one in segments if one.box[3] <= y0], [one for one in segments if one.box[3] > y1]
        between = [one for one in segments if y0 < one.box[3] <= y1]
        return [row for part in (above, between, below) for row in in_reading_order(part, depth + 1)]
    return rows_of(segments)


def _gutter(segments: Sequence[Segment]) -> float | None:
    """Where a white strip runs from top to bottom between two columns of text."""
    if len(segments) < 2 * _MIN_COLUMN_ROWS:
        return None
    end, best, place = -1.0, _MIN_GUTTER, None
    for segment in sorted(segments, key=lambda one: one.box[0]):
        if end >= 0 and segment.box[0] - end > best:
            x = (segment.box[0] + end) / 2
            sides = [one for one in segments if one.box[2] <= x], [one for one in segments if one.box[2] > x]
            if all(_is_column(side) for side in sides):
                best, place = segment.box[0] - end, x
        end = max(end, segment.box[2])
    return place


def _band_with_gutter(segments: Sequence[Segment]) -> tuple[float, float] | None:
    """The highest band across the page, between two of its widest gaps or a gap and an end, in which text stands in columns."""
    heights = [-math.inf, *sorted(_gaps(segments)), math.inf]
    bands = sorted(combinations(heights, 2), key=lambda band: sum(band[0] < one.box[3] <= band[1] for one in segments))
    return next(
        (
            (y0, y1)
            for y0, y1 in reversed(bands)
            if (y0, y1) != (-math.inf, math.inf)
            and _gutter([one for one in segments if y0 < one.box[3] <= y1]) is not None
        ),
        None,
    )


def _is_column(segments: Sequence[Segment]) -> bool:
    """Lines of prose, several of them; labels and numbers beside each other are read row by row."""
    return len(segments) >= _MIN_COLUMN_ROWS and median(len(one.text) for one in segments) >= 18


def _gaps(segments: Sequence[Segment]) -> list[float]:
    """Heights at which a page can be cut across, wide gaps first."""
    end, gaps = -1.0, []
    for segment in sorted(segments, key=lambda one: one.box[1]):
        if end >= 0 and segment.box[1] >= end:
            gaps.append((segment.box[1] - end, end))
        end = max(end, segment.box[3])
    return [y for _, y in sorted(gaps, reverse=True)[:_MAX_CUTS]]
