"""Bytes of unknown origin -> upright RGB frames at a steady rate, or the reason why there are none. The one place of limits.

Frames are decoded and made small one at a time: what a clip costs in memory does not grow with its length.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import BadRecord
from components.engines.base.params import Params, Positive

if TYPE_CHECKING:
    import numpy as np

# Of FFmpeg's demuxers only these are offered bytes: others follow addresses that stand in the file (playlists, scripts).
FORMATS = ("mov", "matroska", "avi", "gif", "mpegts", "mpeg", "flv")
_SIGNS = (b"ftyp", b"moov", b"mdat", b"\x1aE\xdf\xa3", b"GIF8", b"RIFF", b"FLV")  # in the first 12 bytes
_GROUND = 255  # what shows through where a frame is transparent: white, as for pictures
_SHORT = 0.9  # a clip with less than this share of the time that its header promises was cut short
_LAST_S = Fraction(1, 10)  # a frame is shown so long if nothing says how long


class VideoLimits(Params):
    """What is decoded at all. A header that promises more is believed, and nothing is decoded."""

    max_bytes: Positive = 500_000_000
    max_pixels: Positive = 4096 * 2304  # of a frame
    max_seconds: Positive = 600


class Clip:
    """An opened clip. `fps` and `seconds` are what the header says (0 where it says nothing)."""

    def __init__(self, container: Any, stream: Any, limits: VideoLimits) -> None:
        self.container, self.stream, self.limits = container, stream, limits
        self.fps = Fraction(stream.average_rate or stream.guessed_rate or 0)
        seconds = (
            stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, 1_000_000)
        )
        self.seconds = max(Fraction(seconds), Fraction(0))
        self.upright = _Upright()
        self.ended = Fraction(0)  # of the last frame read, in seconds since the first began
        self.frames_read = 0

    def frames(self, px: int | None = None, fps: Fraction | int | None = None) -> Iterator[np.ndarray]:
        """Frames [height, width, 3], uint8, upright, on white where transparent, `px` at most on the longer side.

        With `fps` at that steady rate, each the last one that is shown by then: frames of uneven durations are repeated or
        left out. Raises BadRecord with one of: `no frames`, `damaged clip`, `too many pixels`, `too long`.
        """
        if fps is None:
            yield from (frame for _, frame in self._timed(px))
            return
        shown, made = None, 0
        for time, frame in self._timed(px):
            while shown is not None and Fraction(made) / fps < time:
                yield shown
                made += 1
            shown = frame
        while shown is not None and Fraction(made) / fps < self.ended:
            yield shown
            made += 1

    def _timed(self, px: int | None) -> Iterator[tuple[Fraction, np.ndarray]]:
        """(seconds since the first frame, frame)"""
        first = None
        for frame in self._decoded():
            time = Fraction(frame.pts * frame.time_base) if frame.pts is not None else self.ended
            first = time if first is None else first
            duration = (
                Fraction(frame.duration * frame.time_base) if frame.duration else 1 / self.fps if self.fps else _LAST_S
            )
            self.ended = time - first + duration
            if self.ended > self.limits.max_seconds:
                raise BadRecord("too long", f"more than {self.limits.max_seconds} seconds")
            self.frames_read += 1
            yield time - first, self.upright(frame, px)
        if first is None:
            raise BadRecord("damaged clip", "no frame can be read") if self.seconds else BadRecord("no frames")
        if self.ended < _SHORT * self.seconds:
            raise BadRecord(
                "damaged clip", f"it ends after {float(self.ended):.2f} of {float(self.seconds):.2f} seconds"
            )

    def _decoded(self) -> Iterator[Any]:
        import av

        try:
            for frame in self.container.decode(self.stream):
                _refuse_large(frame.width, frame.height, self.limits)
                yield frame
        except av.error.FFmpegError as error:
            raise BadRecord("damaged clip", f"{type(error).__name__} after {self.frames_read} frames") from None


@contextmanager
def open_clip(data: bytes, limits: VideoLimits) -> Iterator[Clip]:
    """The clip in a file's bytes; its format is told by the bytes, never by a name.

    Raises BadRecord with one of: `empty file`, `too many bytes`, `not a clip`, `damaged clip`, `no video`, `no frames`,
    `too many pixels`, `too long`, before a frame is decoded.
    """
    import av

    if not data:
        raise BadRecord("empty file")
    if len(data) > limits.max_bytes:
        raise BadRecord("too many bytes", f"{len(data)}, at most {limits.max_bytes}")
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    try:
        container = av.open(io.BytesIO(data), options=options)
    except av.error.EOFError:  # a header alone
        raise BadRecord("no frames") from None
    except av.error.FFmpegError as error:
        known = any(sign in data[:12] for sign in _SIGNS)
        raise BadRecord("damaged clip" if known else "not a clip", type(error).__name__) from None
    with container:
        if not container.streams.video:
            if not container.streams.audio:
                raise BadRecord("damaged clip", "nothing is left that could be seen or heard")
            raise BadRecord("no video", "it holds sound alone")
        stream = container.streams.video[0]
        if stream.codec_context is None:  # the index is cut before it says how, or nothing here reads it
            raise BadRecord("damaged clip", "nothing can decode its picture track")
        stream.thread_count = 1  # more would each hold frames of their own
        _refuse_large(stream.width, stream.height, limits)
        clip = Clip(container, stream, limits)
        if clip.seconds > limits.max_seconds:
            raise BadRecord("too long", f"{float(clip.seconds):.0f} seconds, at most {limits.max_seconds}")
        yield clip


def decode_clip(data: bytes) -> np.ndarray:
    """All frames of a clip that a stage wrote: [frames, height, width, 3], uint8."""
    import numpy as np

    with open_clip(data, VideoLimits()) as clip:
        return np.stack(list(clip.frames()))


def _refuse_large(width: int, height: int, limits: VideoLimits) -> None:
    if width * height > limits.max_pixels:
        raise BadRecord("too many pixels", f"{width} x {height}, at most {limits.max_pixels}")


class _Upright:
    """Turned as the file's display matrix says (phones write frames as the sensor lies), made small, RGB of 8 bits.

    One converter serves all frames of a clip: to make one ready takes longer than to convert a small frame.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self.converter = VideoReformatter()

    def __call__(self, frame: Any, px: int | None) -> np.ndarray:
        import numpy as np

        factor = min(1.0, px / max(frame.width, frame.height)) if px else 1.0
        width, height = (max(round(side * factor), 1) for side in (frame.width, frame.height))
        has_alpha = any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"
        options = {} if factor == 1 else {"width": width, "height": height, "interpolation": "AREA"}
        made = self.converter.reformat(
            frame, format="rgba" if has_alpha else "rgb24", threads=1, **options
        ).to_ndarray()
        if has_alpha:
            share = made[..., 3:].astype(np.float32) / 255
            made = (made[..., :3] * share + _GROUND * (1 - share)).round().astype(np.uint8)
        return np.ascontiguousarray(np.rot90(made, round(frame.rotation / 90)))
