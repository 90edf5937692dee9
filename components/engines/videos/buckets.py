"""Buckets: the lengths and sizes at which videos are learnt, and frames as the networks take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.errors import BadRecord
from components.engines.base.params import Params, Positive

if TYPE_CHECKING:
    from torch import Tensor


class Bucket(Params):
    """Videos of so many frames, `stride` frames of the source apart, of this size."""

    frames: Positive
    height: Positive
    width: Positive
    stride: Positive = 1

    @property
    def span(self) -> int:
        """Frames of the source from the first to the last."""
        return (self.frames - 1) * self.stride + 1


def bucket_of(frames: int, height: int, width: int, buckets: Sequence[Bucket]) -> Bucket | None:
    """The longest bucket that a video fills; of equally long ones that of the nearest shape; None where it fills none."""
    fitting = [one for one in buckets if one.span <= frames]
    longest = max((one.frames for one in fitting), default=0)
    shape = np.log(width / height)
    alike = [one for one in fitting if one.frames == longest]
    return min(alike, key=lambda one: abs(np.log(one.width / one.height) - shape), default=None)


def fitted(frames: np.ndarray, bucket: Bucket) -> Tensor:
    """Frames [frames, height, width, 3], uint8 -> the bucket's middle part in time and space: [3, frames, height, width] in
    [-1, 1], float32. Raises BadRecord for a video that is too short."""
    if len(frames) < bucket.span:
        raise BadRecord("too short", f"{len(frames)} frames, {bucket.span} are needed")
    start = (len(frames) - bucket.span) // 2
    return resized(frames[start : start + bucket.span : bucket.stride], bucket.height, bucket.width)


def resized(frames: np.ndarray, height: int, width: int) -> Tensor:
    """Frames [frames, h, w, 3], uint8 -> the middle of the asked shape: [3, frames, height, width] in [-1, 1], float32."""
    import torch
    from torch.nn import functional

    given_height, given_width = frames.shape[1:3]
    factor = min(given_height / height, given_width / width)
    rows, columns = round(height * factor), round(width * factor)
    top, left = (given_height - rows) // 2, (given_width - columns) // 2
    part = np.ascontiguousarray(frames[:, top : top + rows, left : left + columns])
    pixels = torch.from_numpy(part).permute(0, 3, 1, 2).float()  # [frames, 3, rows, columns]
    if (rows, columns) != (height, width):
        pixels = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return pixels.permute(1, 0, 2, 3) / 127.5 - 1


def preprocessing(buckets: Sequence[Bucket]) -> dict[str, Any]:
    """What `fitted` does, in words that stand in the key of cached latents."""
    sizes = [one.model_dump() for one in buckets]
    return {"crop": "centre", "frames": "middle", "filter": "bilinear, antialiased", "buckets": sizes, "range": [-1, 1]}


def to_frames(video: Any) -> np.ndarray:
    """[3, frames, height, width] in [0, 1] -> uint8 [frames, height, width, 3]."""
    levels: np.ndarray = (video.clamp(0, 1) * 255).round().byte().permute(1, 2, 3, 0).cpu().numpy()
    return levels
