"""Grids of pictures with their prompts, as one PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.images.pixels import to_pictures

if TYPE_CHECKING:
    from torch import Tensor

_TEXT_PX, _HEAD_PX, _GAP_PX, _LETTERS = 190, 22, 4, 30


@dataclass(frozen=True)
class Row:
    """A line of text, and pictures [3, px, px] in [0, 1]."""

    text: str
    pictures: Sequence[Tensor]


def write_grid(path: Path, rows: Sequence[Row], columns: Sequence[str], cell_px: int = 96) -> None:
    """Draw `rows` under the names of their `columns`; pictures are shown at `cell_px`, every pixel as it is."""
    from PIL import Image, ImageDraw

    pitch = cell_px + _GAP_PX
    sheet = Image.new("RGB", (_TEXT_PX + pitch * len(columns), _HEAD_PX + pitch * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, name in enumerate(columns):
        draw.text((_TEXT_PX + number * pitch, 5), name[: cell_px // 6], fill="black")
    for line, row in enumerate(rows):
        top = _HEAD_PX + line * pitch
        draw.multiline_text((2, top + 8), "\n".join(textwrap.wrap(row.text, _LETTERS)[:6]), fill="black")
        for number, tensor in enumerate(row.pictures):
            shown = to_pictures(tensor[None])[0].resize((cell_px, cell_px), Image.Resampling.NEAREST)
            sheet.paste(shown, (_TEXT_PX + number * pitch, top))
    sheet.save(path, compress_level=9)
