"""Pictures as the networks take them, and back. Nothing else in this room prepares pixels, so that all stages see the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def preprocessing(image_px: int) -> dict[str, Any]:
    """What `to_pixels` does, in words that stand in the key of cached latents."""
    return {"crop": "centre square", "filter": "lanczos", "image_px": image_px, "range": [-1, 1]}


def to_pixels(pictures: Sequence[Any], image_px: int) -> Any:
    """RGB pictures of any size -> [n, 3, image_px, image_px], float32 in [-1, 1]: the middle square, resized."""
    import torch

    made = np.stack([_square(picture, image_px) for picture in pictures])  # [n, px, px, 3], uint8
    return torch.from_numpy(made).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_unit(pictures: Sequence[Any], image_px: int) -> Any:
    """The same in [0, 1], as generated pictures are."""
    return to_pixels(pictures, image_px) / 2 + 0.5


def to_pictures(images: Any) -> list[Any]:
    """[n, 3, height, width] in [0, 1] -> 8-bit RGB pictures."""
    from PIL import Image

    levels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(pixels) for pixels in levels]


def _square(picture: Any, px: int) -> np.ndarray:
    from PIL import Image

    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == px:
        return np.asarray(picture.crop(box).convert("RGB"))
    return np.asarray(picture.convert("RGB").resize((px, px), Image.Resampling.LANCZOS, box=box))
