"""Frames -> files that every player plays; equal frames give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

BITEXACT = {"fflags": "+bitexact"}  # no random ids, no version of the writer
# x264's assembly reads beyond small pictures: now and then a clip came out otherwise, by what lay in memory there.
_EXACT_X264 = {"threads": "1", "x264-params": "asm=0"}
QUALITY = 12  # constant rate factor of x264: 0 loses nothing, 51 nearly all


def encode_mp4(frames: Iterable[np.ndarray], fps: Fraction | float, quality: int = QUALITY) -> bytes:
    """Frames [height, width, 3], uint8, of one even size -> H.264 in MP4, one frame at a time.

    One thread, so that the bytes do not depend on how many cores there are. Raises UsageError for no frames or an odd side,
    which the format's halved colours cannot have.
    """
    coming = iter(frames)
    first = next(coming, None)
    if first is None:
        raise UsageError("A clip without frames cannot be written")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise UsageError(f"A clip of {width} x {height} cannot be written as H.264", do="use even sides")
    return write_clip(chain([first], coming), fps, more={"crf": str(quality), "preset": "veryfast"})


def write_clip(
    frames: Iterable[np.ndarray],
    fps: Fraction | float,
    *,
    format: str = "mp4",
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    places: Iterable[int] | None = None,
    more: Mapping[str, str] | None = None,
) -> bytes:
    """Frames [height, width, 3], uint8, in a container of FFmpeg's, by one of its encoders (`more` are that one's options).

    `places` are the frames' times in frames from the start, by default one after another. Whatever writes a clip does it here:
    the bytes say to which split a clip goes.
    """
    import av
    import numpy as np

    rate, buffer, coming = Fraction(fps).limit_denominator(1001), io.BytesIO(), iter(frames)
    first = next(coming)
    with av.open(buffer, "w", format=format, options=BITEXACT) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = *first.shape[:2], pix_fmt, 1
        stream.options = {**(_EXACT_X264 if codec == "libx264" else {}), **(more or {})}
        for place, array in zip(count() if places is None else places, chain([first], coming)):  # noqa: B905 (count has no end)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame.pts, frame.time_base = place, 1 / rate
            container.mux(stream.encode(frame))
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
