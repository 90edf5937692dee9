"""Square RGB pictures as a CLIP image processor prepares them, to the bit, without its cost of a call per step and picture.

The processor takes a third of a millisecond for a small picture, most of it in checks of its arguments: more than decoding the
file and embedding it in a small model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_LEVELS = 256


class Squares:
    """What `processor` (a CLIPImageProcessorPil) does to square RGB pictures, or says that it is not for a picture.

    Resized, such a picture has the size of the crop: nothing is cut. What follows treats every value on its own, so a table
    of the 256 values in each channel, filled by the processor itself, gives the same floats.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.px = _side(processor)
        self._table: Any = None  # [3, 256], float32

    def take(self, picture: Any) -> bool:
        """Whether `pixels` may be asked about this picture."""
        return self.px is not None and picture.width == picture.height and picture.mode == "RGB"

    def pixels(self, pictures: Sequence[Any]) -> Any:
        """Square RGB pictures of any size -> [n, 3, px, px], float32."""
        import torch

        assert self.px is not None
        size = (self.px, self.px)
        resized = (one if one.size == size else one.resize(size, self.processor.resample) for one in pictures)
        levels = np.stack([np.asarray(one) for one in resized])  # [n, px, px, 3], uint8
        table = self._filled()
        made = np.empty((len(levels), 3, *size), np.float32)
        for channel in range(3):
            np.take(table[channel], levels[..., channel], out=made[:, channel], mode="clip")  # all are in bounds
        return torch.from_numpy(made)

    def _filled(self) -> Any:
        if self._table is None:
            column = np.arange(_LEVELS, dtype=np.uint8)[:, None, None].repeat(3, 2)  # [256, 1, 3]
            uncut = {"do_resize": False, "do_center_crop": False}
            made = self.processor(images=[column], input_data_format="channels_last", return_tensors="np", **uncut)
            self._table = np.ascontiguousarray(made["pixel_values"][0, :, :, 0], dtype=np.float32)
        return self._table


def _side(processor: Any) -> int | None:
    """The side to which the processor brings squares by resizing alone; None where it does something else as well."""
    sizes = _values(processor.size) if processor.do_resize else set()
    crops = _values(processor.crop_size) if processor.do_center_crop else sizes
    return sizes.pop() if len(sizes) == 1 and crops == sizes and not processor.do_pad else None


def _values(size: Any) -> set[int]:
    return {value for value in dict(size).values() if value is not None}
