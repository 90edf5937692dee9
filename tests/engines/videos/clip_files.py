"""Files of every kind, written by PyAV for the tests that read them."""

import io
import struct
from fractions import Fraction

import av
import numpy as np

PX = 32


def moving(count=9, px=PX, value=250):
    """A bright square that goes right by two pixels a frame on grey."""
    frames = np.full((count, px, px, 3), 90, np.uint8)
    for place, frame in enumerate(frames):
        frame[px // 2 - 4 : px // 2 + 4, 2 + 2 * place : 10 + 2 * place] = value
    return frames


def write(frames, *, format="mp4", codec="libx264", pix_fmt="yuv420p", fps=8, given="rgb24", pts=None, options=None):
    """Frames [n, height, width, channels] as a file; `pts` in thousandths of a second makes the rate uneven.

    The same frames give the same bytes, which say to which split a file goes: Matroska would give each file an identity of its
    own, and x264's assembly reads beyond small pictures.
    """
    exact = {"x264-params": "asm=0", "threads": "1"} if codec == "libx264" else {}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format, container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=fps, options={**exact, **(options or {})})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for place, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format=given)
            if pts is not None:
                frame.pts, frame.time_base = pts[place], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def sound():
    """A file that holds sound alone."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        tone = np.sin(np.arange(4096, dtype=np.float32) / 10)[None]
        for start in range(0, 4096, 1024):
            frame = av.AudioFrame.from_ndarray(tone[:, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def turned(mp4):
    """The same file with the display matrix of a phone held upright: frames are to be shown turned clockwise by a quarter."""
    place = mp4.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times and ids, layer and volume
    one = 1 << 16
    matrix = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    return mp4[:place] + matrix + mp4[place + 36 :]
