"""What the upscaler gains over bicubic enlargement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.engines.images.pixels import to_unit
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.psnr import psnr
from components.engines.super_resolution.upscaler import Upscaler, bicubic


def upscaling_gain(upscaler: Upscaler, pictures: Sequence[Any], image_px: int) -> dict[str, float]:
    """PSNR (dB) of both on the pictures that are large enough to be made small first; nothing where there are none."""
    px = image_px * upscaler.factor
    large = [picture for picture in pictures if min(picture.size) >= px]
    if not large:
        return {}
    originals, small = to_unit(large, px), to_unit(large, image_px)
    made, plain = upscaler.upscale(small), bicubic(small, upscaler.factor).clamp(0, 1)
    ours, theirs = compute(psnr, made, originals)["psnr"], compute(psnr, plain, originals)["psnr"]
    return {"psnr_upscaled": ours, "psnr_bicubic": theirs, "upscaling_gain": ours - theirs}
