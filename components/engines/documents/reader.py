"""One page of a document -> a Page and its picture: by its text layer where that can be believed, else by OCR."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from components.engines.base.errors import BadRecord
from components.engines.base.params import Params, Positive
from components.engines.documents.layout import LayoutFinder
from components.engines.documents.markup import read_markup
from components.engines.documents.ocr import Recogniser, straighten
from components.engines.documents.page import Box, Line, Page, overlap
from components.engines.documents.pdf import PdfLimits, draw, load_page, notes_on, open_pdf
from components.engines.documents.reading import blocks_of
from components.engines.documents.rules import ruling_lines
from components.engines.documents.tables import find_tables
from components.engines.documents.textlayer import read_layer, why_not
from components.engines.images.decode import Limits, decode_image

_MIN_FIGURE, _MAX_FIGURE = 0.015, 0.9  # share of the page's area
_MIN_IMAGE_SIDE = 8  # pixels


class Reading(Params):
    """How pages are read. `dpi`: of the picture that OCR reads; `picture_dpi`: of the one that is kept to be shown."""

    dpi: Positive = 150
    picture_dpi: Positive = 72
    layout: bool = True  # on pages without a text layer: which parts are figures and headings
    pdf: PdfLimits = PdfLimits()
    image: Limits = Limits()


class PageReader:
    """Answers `(path, kind, number)`: {"page": Page as a dict, "jpg": bytes}. Keeps the last document open."""

    def __init__(self, params: Reading) -> None:
        self.params = params
        self._open: tuple[str, Any] = ("", None)

    def __call__(self, path: str, kind: str, number: int) -> dict[str, Any]:
        if kind == "pdf":
            page, picture = self._pdf(path, number)
        elif kind == "image":
            page, picture = self._image(Path(path).read_bytes(), number)
        else:
            return {"page": read_markup(Path(path).read_bytes(), kind).as_dict(), "jpg": b""}
        return {"page": page.as_dict(), "jpg": _jpeg(picture, self.params.picture_dpi)}

    @cached_property
    def recogniser(self) -> Recogniser:
        return Recogniser()

    @cached_property
    def layout(self) -> LayoutFinder:
        return LayoutFinder()

    def _pdf(self, path: str, number: int) -> tuple[Page, Any]:
        if self._open[0] != path:
            if self._open[1] is not None:
                self._open[1].close()
            self._open = (path, open_pdf(Path(path), self.params.pdf))
        document = self._open[1]
        page = load_page(document, number)
        read, why = self._layer(document, number, notes_on(document))
        dpi = self.params.picture_dpi if read else self.params.dpi
        pixels, scale = draw(page, dpi, self.params.pdf)
        page.close()
        if read is not None:
            return read, (pixels, scale)
        return self._recognised(pixels, scale, number, (*notes_on(document), f"text layer {why}"))

    def _layer(self, document: Any, number: int, notes: tuple[str, ...]) -> tuple[Page | None, str]:
        """The page by its text layer, or why that cannot be believed."""
        import pdfplumber

        with pdfplumber.open(io.BytesIO(_alone(document, number))) as opened:
            page = opened.pages[0]
            layer = read_layer(page)
            reason = why_not(page, layer.words)
            if reason is not None:
                return None, reason
            width, height = float(page.width), float(page.height)
        area = width * height
        figures = [
            box
            for box in layer.pictures
            if _MIN_FIGURE * area < (box[2] - box[0]) * (box[3] - box[1]) < _MAX_FIGURE * area
        ]
        blocks = blocks_of(layer.words, find_tables(layer.words, layer.edges), figures, sized=True)
        return Page(number, width, height, "text layer", tuple(blocks), notes=notes), ""

    def _image(self, data: bytes, number: int) -> tuple[Page, Any]:
        """A picture file as a page of 8.27 inches width (A4), which tells OCR how large letters are."""
        import numpy as np

        picture = decode_image(data, self.params.image)
        if min(picture.size) < _MIN_IMAGE_SIDE:
            raise BadRecord("image too small", f"{picture.width} x {picture.height} pixels")
        return self._recognised(np.asarray(picture.convert("RGB")), max(picture.size) / 842, number, ())

    def _recognised(self, coloured: Any, scale: float, number: int, notes: tuple[str, ...]) -> tuple[Page, Any]:
        pixels = _grey(coloured)
        found = self.recogniser(pixels)
        upright = straighten(pixels, found.turned, found.skew)
        words = [replace(word, box=_scaled(word.box, scale)) for word in found.words]
        figures: list[Box] = []
        if self.params.layout and words:
            regions = [(kind, _scaled(box, scale)) for kind, box in self.layout(upright)]
            figures = [box for kind, box in regions if kind == "figure"]
            titles = [box for kind, box in regions if kind == "title"]
            words = [_bold(word, titles) for word in words]
        tables = find_tables(words, ruling_lines(upright, scale)) if words else []
        blocks = blocks_of(words, tables, figures, sized=False)
        size = (round(found.width / scale, 2), round(found.height / scale, 2))
        page = Page(number, *size, "ocr", tuple(blocks), found.turned, found.skew, notes)
        return page, (straighten(coloured, found.turned, found.skew), scale)


def _alone(document: Any, number: int) -> bytes:
    """The page as a PDF of its own: what reads it afterwards keeps nothing of the document in memory."""
    import pypdfium2 as pdfium

    single, buffer = pdfium.PdfDocument.new(), io.BytesIO()
    single.import_pages(document, [number - 1])
    single.save(buffer)
    single.close()
    return buffer.getvalue()


def _scaled(box: Box, scale: float) -> Box:
    x0, y0, x1, y1 = (round(side / scale, 2) for side in box)
    return x0, y0, x1, y1


def _bold(word: Line, titles: list[Box]) -> Line:
    return replace(word, bold=True) if any(overlap(word.box, box) > 0.5 for box in titles) else word


def _grey(coloured: Any) -> Any:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(coloured).convert("L"))


def _jpeg(picture: tuple[Any, float], dpi: int) -> bytes:
    """Pixels [height, width, 3] with their number a point -> a JPEG of at most `dpi`."""
    from PIL import Image

    pixels, scale = picture
    image = Image.fromarray(pixels)
    factor = min(dpi / 72 / scale, 1.0)
    image = image.resize((max(round(image.width * factor), 1), max(round(image.height * factor), 1)))
    buffer = io.BytesIO()
    told = round(72 * scale * factor)  # the file says it, so that a box in points is found on the picture
    image.save(buffer, "JPEG", quality=60, dpi=(told, told))
    return buffer.getvalue()
