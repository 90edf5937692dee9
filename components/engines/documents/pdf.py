"""PDF files of unknown origin: opened within limits, or the one reason why not; pages as pictures.

PDFium runs no JavaScript here and unpacks no embedded files: that they are there is noted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from components.engines.base.errors import BadRecord
from components.engines.base.params import Params, Positive

_HEAD = 1 << 20
_TAIL = 4096  # the end mark may be followed by a little rubbish
_MAX_SIDE = 14_400  # points; PDF 32000-1, annex C: what larger a page says it is, it is not


class PdfLimits(Params):
    """What is opened at all, and how large a page's picture may become (a larger page is drawn at a lower resolution)."""

    max_bytes: Positive = 500_000_000
    max_pages: Positive = 5_000
    max_picture_px: Positive = 12_000_000


def open_pdf(path: Path, limits: PdfLimits) -> Any:
    """A pypdfium2 document. Raises BadRecord: `too many bytes`, `truncated PDF`, `encrypted PDF`, `damaged PDF`, `no pages`,
    `too many pages`."""
    import pypdfium2 as pdfium

    size = path.stat().st_size
    if size > limits.max_bytes:
        raise BadRecord("too many bytes", f"{size}, at most {limits.max_bytes}")
    with path.open("rb") as file:
        file.seek(max(size - _TAIL, 0))
        if b"%%EOF" not in file.read():
            raise BadRecord("truncated PDF", "there is no end mark")
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise BadRecord("encrypted PDF", "it opens with a password only") from None
        if _is_empty(path):
            raise BadRecord("no pages") from None
        raise BadRecord("damaged PDF", str(error)) from None
    if len(document) > limits.max_pages:
        raise BadRecord("too many pages", f"it says it has {len(document)}, at most {limits.max_pages} are read")
    return document


def _is_empty(path: Path) -> bool:
    """Whether a file that PDFium refuses is a PDF without any page: it gives no reason of its own for those."""
    with path.open("rb") as file:
        data = file.read(_HEAD)
    return bool(re.search(rb"/Count\s+0\b", data)) and not re.search(rb"/Type\s*/Page\b", data)


def notes_on(document: Any) -> tuple[str, ...]:
    """What the file carries besides pages, and is ignored."""
    from pypdfium2 import raw

    notes = []
    if raw.FPDFDoc_GetJavaScriptActionCount(document.raw) > 0:
        notes.append("JavaScript ignored")
    if document.count_attachments():
        notes.append("embedded files ignored")
    return tuple(notes)


def load_page(document: Any, number: int) -> Any:
    """Page `number`, counted from 1. Raises BadRecord: `page missing`, `page too large`."""
    import pypdfium2 as pdfium

    try:
        page = document[number - 1]
    except pdfium.PdfiumError as error:
        raise BadRecord("page missing", f"page {number}: {error}") from None
    width, height = page.get_size()
    if not 0 < max(width, height) <= _MAX_SIDE or min(width, height) <= 0:
        raise BadRecord("page too large", f"page {number}: {width:g} x {height:g} points, at most {_MAX_SIDE}")
    return page


def draw(page: Any, dpi: int, limits: PdfLimits) -> tuple[Any, float]:
    """The page in colour (RGB), uint8 [height, width, 3], and how many pixels a point has."""
    width, height = page.get_size()
    scale = min(dpi / 72, 0.999 * (limits.max_picture_px / (width * height)) ** 0.5)  # sides are rounded up
    bitmap = page.render(scale=scale, rev_byteorder=True)  # else blue comes first
    pixels = bitmap.to_numpy()[:, :, :3].copy()
    bitmap.close()
    return pixels, scale
