"""Pictures as tensors and back: the one way of this room to bring a picture to a network's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


def square(picture: Image.Image, px: int) -> Image.Image:
    """The square in the picture's middle, `px` on a side (Lanczos, as `sources.images.shrink`)."""
    from PIL import Image, ImageOps

    return picture if picture.size == (px, px) else ImageOps.fit(picture, (px, px), Image.Resampling.LANCZOS)


def to_tensor(pictures: Sequence[Image.Image], px: int) -> Tensor:
    """RGB pictures of any size -> float32 [pictures, 3, px, px] in [0, 1]."""
    import numpy as np
    import torch

    pixels = np.stack([np.asarray(square(picture, px)) for picture in pictures])  # [pictures, px, px, 3]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255


def to_pictures(images: Tensor) -> list[Image.Image]:
    """[images, 3, height, width] in [0, 1] -> 8-bit RGB pictures."""
    from PIL import Image

    levels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(pixels) for pixels in levels]
