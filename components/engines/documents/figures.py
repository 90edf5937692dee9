"""Figures of pages in words, so that a search finds them: what a captioner says of each, behind its title."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from components.engines.documents.page import Block, Page

Describe = Callable[[list[Any]], list[str]]  # PIL pictures, RGB -> what each shows
_MIN_SIDE = 8  # pixels: what is smaller shows nothing


def described(pages: Sequence[tuple[Page, bytes]], describe: Describe) -> list[Page]:
    """The pages with a text in each figure's block; `bytes` is the page's picture (JPEG), empty where there is none."""
    cut = {
        (number, place): part for number, (page, jpg) in enumerate(pages) for place, part in _figures(page, jpg).items()
    }
    said = dict(zip(cut, describe(list(cut.values())), strict=True)) if cut else {}
    return [
        replace(
            page,
            blocks=tuple(
                replace(block, text=said.get((number, place), block.text)) for place, block in enumerate(page.blocks)
            ),
        )
        for number, (page, _) in enumerate(pages)
    ]


def _figures(page: Page, jpg: bytes) -> dict[int, Any]:
    """Pictures of the page's figures by their places among its blocks."""
    from PIL import Image

    places = [place for place, block in enumerate(page.blocks) if block.kind == "figure"]
    if not places or not jpg or not page.width:
        return {}
    picture = Image.open(io.BytesIO(jpg)).convert("RGB")
    scale = picture.width / page.width
    cut = {place: picture.crop(_pixels(page.blocks[place], scale)) for place in places}
    return {place: part for place, part in cut.items() if min(part.size) >= _MIN_SIDE}


def _pixels(block: Block, scale: float) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(side * scale) for side in block.box)
    return x0, y0, x1, y1
