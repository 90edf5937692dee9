"""Frames -> files that every player plays; equal frames give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from components.engines.base.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

BITEXACT = {"fflags": "+bitexact"}  # no random ids, no version of the writer
QUALITY = 12  # constant rate factor of x264: 0 loses nothing, 51 nearly all


def encode_mp4(frames: Iterable[np.ndarray], fps: Fraction | float, quality: int = QUALITY) -> bytes:
    """Frames [height, width, 3], uint8, of one even size -> H.264 in MP4, one frame at a time.

    One thread, so that the bytes do not depend on how many cores there are. Raises UsageError for no frames or an odd side,
    which the format's halved colours cannot have.
    """
    import av

    coming = iter(frames)
    first = next(coming, None)
    if first is None:
        raise UsageError("A clip without frames cannot be written")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise UsageError(f"A clip of {width} x {height} cannot be written as H.264", do="use even sides")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=BITEXACT) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = width, height, "yuv420p", 1
        # x264's assembly reads beyond small pictures: now and then a clip came out otherwise, by what lay in memory there.
        stream.options = {"crf": str(quality), "preset": "veryfast", "threads": "1", "x264-params": "asm=0"}
        for frame in chain([first], coming):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def encode_webp(frames: np.ndarray, fps: float) -> bytes:
    """Frames [frames, height, width, 3], uint8 -> an animated WebP that plays over and over: what browsers show as a picture."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "WEBP", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0, quality=90
    )
    return buffer.getvalue()
