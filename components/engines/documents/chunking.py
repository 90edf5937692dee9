"""Pages -> chunks: by length, by a pattern, or by the structure of the document. A table is in exactly one chunk, with its title.

Headings are no chunks: they are the path under which a chunk stands. Lines that most pages of a document repeat at the same place
(running heads, page numbers) are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

from pydantic import Field

from components.engines.base.params import Count, Params, Positive
from components.engines.documents.page import Block, Box, Page, Table

_EDGE = 0.09  # of the page's height at its top and bottom, where running heads stand
_MIN_PAGES = 3
_NUMBER = re.compile(r"(page|seite|página)?\s*\d+(\s*(/|of|von|de)\s*\d+)?", re.IGNORECASE)


class Chunking(Params):
    """`length`: LangChain's recursive splitter; `pattern`: at each match of `pattern`; `structure`: at headings and, within a
    section, by length. Sizes are characters."""

    by: Literal["length", "pattern", "structure"] = "structure"
    max_chars: Positive = 600
    overlap_chars: Count = 0
    pattern: str = Field(r"\n\s*\n", description="a regular expression; what it matches separates chunks")


@dataclass(frozen=True)
class Chunk:
    """What is found and cited. `boxes`: where on the page it stands; `path`: the headings it stands under."""

    id: str
    document: str
    page: int
    kind: str
    text: str
    path: tuple[str, ...]
    boxes: tuple[Box, ...]

    @property
    def whole(self) -> str:
        """The text with the headings it stands under: what is embedded and searched."""
        return " > ".join(self.path) + "\n" + self.text if self.path else self.text

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Chunk:
        return cls(**{**body, "path": tuple(body["path"]), "boxes": tuple(tuple(box) for box in body["boxes"])})


def chunks_of(document: str, pages: Sequence[Page], params: Chunking) -> list[Chunk]:
    """Chunks of a document, numbered in reading order."""
    repeated = _repeated(pages)
    found: list[Chunk] = []
    path: list[tuple[int, str]] = []
    for page in pages:
        for kind, text, boxes, under in _pieces(page, repeated, path, params):
            titles = tuple(title for _, title in under)
            found.append(Chunk(f"{document}-{len(found):04d}", document, page.number, kind, text, titles, boxes))
    return found


Piece = tuple[str, str, tuple[Box, ...], list[tuple[int, str]]]


def _pieces(page: Page, repeated: set[str], path: list[tuple[int, str]], params: Chunking) -> Iterator[Piece]:
    """`path` is kept up to date: what a page ends under, the next one begins under."""
    waiting: list[Block] = []

    def flush() -> Iterator[Piece]:
        if waiting:
            text = "\n\n".join(block.text for block in waiting)
            kind = "code" if all(block.kind == "code" for block in waiting) else "text"
            for part in split(text, params, code=kind == "code"):
                inside = [block.box for block in waiting if set(block.text.split()) & set(part.split())]
                yield kind, part, tuple(dict.fromkeys(inside)), list(path)
            waiting.clear()

    for block in page.blocks:
        if _furniture(block, page, repeated):
            continue
        if block.kind == "heading":
            if params.by == "structure":
                yield from flush()
            while path and path[-1][0] >= block.level:
                path.pop()
            path.append((block.level, block.text))
        elif block.kind in ("table", "figure"):
            yield from flush()
            text = (
                table_text(block.title, block.table)
                if block.table
                else "\n".join(filter(None, (block.title, block.text)))
            )
            if text:
                yield block.kind, text, (block.box,), list(path)
        elif block.text.strip():
            waiting.append(block)
    yield from flush()


def _furniture(block: Block, page: Page, repeated: set[str]) -> bool:
    if block.kind not in ("text", "heading") or not page.height:
        return False
    outside = block.box[3] < _EDGE * page.height or block.box[1] > (1 - _EDGE) * page.height
    return outside and (_shape(block.text) in repeated or bool(_NUMBER.fullmatch(block.text.strip())))


def _repeated(pages: Sequence[Page]) -> set[str]:
    """Texts at the edge of more than half of at least three pages; digits differ with the page."""
    if len(pages) < _MIN_PAGES:
        return set()
    counts: Counter[str] = Counter()
    for page in pages:
        edge = [block for block in page.blocks if block.kind in ("text", "heading") and page.height]
        counts.update(
            {
                _shape(block.text)
                for block in edge
                if block.box[3] < _EDGE * page.height or block.box[1] > (1 - _EDGE) * page.height
            }
        )
    return {text for text, count in counts.items() if count > len(pages) / 2}


def _shape(text: str) -> str:
    return re.sub(r"\d+", "#", " ".join(text.split()))


def split(text: str, params: Chunking, *, code: bool = False) -> list[str]:
    """The parts of a text, none longer than `max_chars` but where a pattern says so."""
    if params.by == "pattern":
        parts = re.split(params.pattern, text)
    else:
        parts = _splitter(params.max_chars, params.overlap_chars, code).split_text(text)
    return [part.strip() for part in parts if part.strip()]


@cache
def _splitter(max_chars: int, overlap_chars: int, code: bool) -> Any:
    from langchain_text_splitters import PythonCodeTextSplitter, RecursiveCharacterTextSplitter

    if code:
        return PythonCodeTextSplitter(chunk_size=max_chars, chunk_overlap=overlap_chars)
    return RecursiveCharacterTextSplitter(
        chunk_size=max_chars, chunk_overlap=overlap_chars, separators=["\n\n", "\n", ". ", " ", ""]
    )


def header_rows(table: Table) -> int:
    """How many rows at the top are headers: those that cells of the first row reach into, one at least."""
    return max((cell.rows for cell in table.cells if cell.row == 0), default=1)


def rows_as_sentences(table: Table) -> list[str]:
    """Each row below the header as `header: value; …`, so that a row can be read alone; a spanning cell counts in each row."""
    grid = table.grid()
    top = header_rows(table) if table.height > 1 else 0
    names = [" ".join(dict.fromkeys(row[column] for row in grid[:top] if row[column])) for column in range(table.width)]
    return [
        "; ".join(f"{name}: {text}" if name else text for name, text in zip(names, row, strict=True) if text)
        for row in grid[top:]
    ]


def table_text(title: str, table: Table) -> str:
    return "\n".join(
        filter(None, [" ".join(title.split()), *(" ".join(row.split()) for row in rows_as_sentences(table))])
    )
