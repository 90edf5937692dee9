"""Moving scenes as people find clips: files in every bad state, shots cut together, captions of another motion.

Every record tells its own truth, so that what a stage catches can be counted.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.videos.encode import BITEXACT, encode_mp4, write_clip
from components.text_to_video.world.motion import ATTRIBUTES, Motion, describe, describe_still, draw, is_possible, paint

FPS, FRAMES, PX = 16, 17, 64
# What is wrong, in equal shares. Bad files must be caught, of odd ones the clip can be had; dirt is for the filters, and of
# clips with a cut both shots can be had, but not their captions.
BAD_FILES = ("cut short", "no clip", "sound alone", "no frames", "8k header", "too short")
ODD_FILES = ("variable rate", "rotated", "10 bits", "gif")
DIRT = ("frozen", "wrong motion", "text", "dull")
CUT, UNCAPTIONED, FINE, STILL = "cut", "no caption", "fine", "still"
_DULL = 0.12  # of the colour is left
_TEXTS = ("BREAKING", "SUBSCRIBE", "SALE 50%", "LIVE NOW", "www.clip.tv")


@dataclass(frozen=True)
class Record:
    """A clip's file, its caption and the truth: the scene (of a cut clip that of its first shot) and what is wrong with it."""

    clip: bytes
    caption: str
    name: str
    scene: Motion
    state: str = FINE

    @property
    def truth(self) -> dict[str, Any]:
        return {"scene": self.scene.as_dict(), "state": self.state}


def draw_records(count: int, *, seed: int, bad_files: float, odd_files: float, dirt: float) -> Iterator[Record]:
    """`count` clips of scenes that training may see; shares of bad and odd files, and of dirt (cuts and lost captions too)."""
    kinds = ((bad_files, BAD_FILES), (odd_files, ODD_FILES), (dirt, (*DIRT, CUT, UNCAPTIONED)))
    for number in range(count):
        rng = np.random.default_rng(derive(seed, "clip", number))
        chance, state = rng.random(), FINE
        for share, states in kinds:
            if 0 <= chance < share:
                state = states[rng.integers(len(states))]
            chance -= share
        yield _record(f"{number:06d}", draw(rng), state, rng)


def draw_test_records(count: int, *, seed: int) -> Iterator[Record]:
    """Sound, rightly captioned clips: every other one a scene that training never sees."""
    for number in range(count):
        rng = np.random.default_rng(derive(seed, "test clip", number))
        yield _record(f"test/{number:06d}", draw(rng, held_out=bool(number % 2)), FINE, rng)


def draw_stills(count: int, *, seed: int) -> Iterator[Record]:
    """Pictures: one frame of a scene, with a caption that tells of no motion."""
    from PIL import Image

    for number in range(count):
        rng = np.random.default_rng(derive(seed, "still", number))
        scene = draw(rng)
        buffer = io.BytesIO()
        Image.fromarray(paint(scene, PX, np.zeros(1), rng)[0]).save(buffer, "PNG", compress_level=1)
        yield Record(buffer.getvalue(), describe_still(scene, int(rng.integers(99))), f"{number:06d}.png", scene, STILL)


def times(frames: int = FRAMES) -> np.ndarray:
    """Seconds of each frame, around the clip's middle."""
    return (np.arange(frames) - (frames - 1) / 2) / FPS


def _record(name: str, scene: Motion, state: str, rng: np.random.Generator) -> Record:
    caption = describe(_another(scene, rng) if state == "wrong motion" else scene, int(rng.integers(99)))
    frames = paint(scene, PX, times(), rng)
    if state == CUT:
        frames = np.concatenate([frames, paint(draw(rng), PX, times(), rng)])
    clip, extension = _as_file(_soiled(frames, state, rng), state, rng)
    return Record(clip, "" if state == UNCAPTIONED else caption, f"{name}.{extension}", scene, state)


def _another(scene: Motion, rng: np.random.Generator) -> Motion:
    """The same thing moving another way."""
    while True:
        values = {name: ATTRIBUTES[name][rng.integers(len(ATTRIBUTES[name]))] for name in ("direction", "turn")}
        other = Motion(scene.colour, scene.shape, speed=scene.speed, **values)
        if is_possible(other) and (other.direction, other.turn) != (scene.direction, scene.turn):
            return other


def _soiled(frames: np.ndarray, state: str, rng: np.random.Generator) -> np.ndarray:
    match state:
        case "frozen":
            frames = frames[[int(rng.integers(len(frames)))] * len(frames)]
        case "text":
            frames = np.stack([_written(frame, _TEXTS[frames[0, 0, 0, 0] % len(_TEXTS)]) for frame in frames])
        case "dull":
            grey = frames.mean(-1, keepdims=True)
            frames = (grey + _DULL * (frames - grey)).astype(np.uint8)
        case "too short":
            frames = frames[:4]
    return frames


def _written(frame: np.ndarray, text: str) -> np.ndarray:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(frame)
    ImageDraw.Draw(picture).text((2, PX - 14), text, fill="white", stroke_width=1, stroke_fill="black")
    return np.asarray(picture)


def _as_file(frames: np.ndarray, state: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """The bytes of a file in that state, and the extension it goes by."""
    match state:
        case "no clip":
            made = b"<!DOCTYPE html><title>404 Not Found</title>", "mp4"
        case "sound alone":
            made = _sound(), "mp4"
        case "no frames":
            whole = write_clip(frames, FPS, format="matroska")
            made = whole[: whole.index(b"\x1fC\xb6u")], "mkv"  # before the first cluster
        case "8k header":
            whole = write_clip(frames, FPS, format="gif", codec="gif", pix_fmt="rgb8")
            made = whole[:6] + struct.pack("<2H", 7680, 4320) + whole[10:], "gif"
        case "cut short":
            whole = encode_mp4(frames, FPS)
            made = whole[: len(whole) * int(rng.integers(30, 90)) // 100], "mp4"
        case "variable rate":
            kept = _uneven(len(frames), rng)
            made = write_clip(frames[kept], FPS, places=kept), "mp4"
        case "rotated":
            made = turned(encode_mp4(np.rot90(frames, 1, (1, 2)), FPS)), "mp4"
        case "10 bits":
            made = write_clip(frames, FPS, format="matroska", pix_fmt="yuv420p10le"), "mkv"
        case "gif":
            made = write_clip(frames, FPS, format="gif", codec="gif", pix_fmt="rgb8"), "gif"
        case _:
            made = encode_mp4(frames, FPS), "mp4"
    return made


def _uneven(count: int, rng: np.random.Generator) -> list[int]:
    """The frames that a recorder that skips every now and then keeps: the first and the last, and most between them."""
    inner = rng.choice(np.arange(1, count - 1), count - 5, replace=False)
    return [0, *sorted(inner.tolist()), count - 1]


def _sound() -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=BITEXACT) as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def turned(mp4: bytes) -> bytes:
    """The file as a phone held upright writes it: its frames are to be shown turned clockwise by a quarter.

    The matrix stands in the track's header (ISO/IEC 14496-12, § 8.3.2).
    """
    place = mp4.index(b"tkhd") + 4 + 4 + 20 + 16  # behind version and flags, times and ids, layer and volume
    one = 1 << 16
    return mp4[:place] + struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30) + mp4[place + 36 :]
