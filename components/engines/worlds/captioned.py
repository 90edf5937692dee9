"""Painted scenes as people find captioned images: a known share of wrong captions, and files in every bad state.

Every record tells its own truth, so that what a stage catches can be counted.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.worlds.scenes import ATTRIBUTES, Scene, describe, differing, paint, scenes

# What is wrong with a file, in equal shares. The first ones must be caught, of the others the picture can be had.
BAD_FILES = ("cut short", "no image", "empty", "bomb", "tiny", "duplicate", "near duplicate")
ODD_FILES = ("huge", "wrong extension", "rotated")
CAPTIONS = ("right", "random", "one attribute off")

_BOMB_PX = 50_000
_HUGE_FACTOR = 24  # times the side of the others


@dataclass(frozen=True)
class Record:
    """A captioned image and the truth about it.

    `file` is what is wrong with the file ("fine", or one of BAD_FILES and ODD_FILES), `said` how the caption came to be (one
    of CAPTIONS). `held_out` scenes are for testing only.
    """

    image: bytes
    caption: str
    name: str
    scene: Scene
    file: str = "fine"
    said: str = "right"

    @property
    def truth(self) -> dict[str, Any]:
        return {"scene": self.scene.as_dict(), "file": self.file, "caption": self.said}


def draw_records(
    count: int,
    *,
    px: int,
    seed: int,
    wrong_captions: float,
    bad_files: float,
    textures: tuple[str, ...] = ATTRIBUTES["texture"],
) -> Iterator[Record]:
    """`count` records of scenes that training may see, `px` on a side, in an order that is a pure function of the seed.

    A share of `wrong_captions` (half of them another scene's, half one attribute off), a share of `bad_files`. Copies follow
    what they are copies of, sooner or later.
    """
    recent: deque[Record] = deque(maxlen=500)
    for number in range(count):
        rng = np.random.default_rng(derive(seed, "record", number))
        file = "fine"
        if rng.random() < bad_files:
            kinds = BAD_FILES + ODD_FILES
            file = kinds[rng.integers(len(kinds))]
        if file.endswith("duplicate") and recent:
            yield _copy(recent[rng.integers(len(recent))], file, number, rng)
            continue
        pool = scenes(held_out=False, textures=textures)
        record = _draw(number, "fine" if file.endswith("duplicate") else file, px, pool, wrong_captions, rng)
        if record.file == "fine":
            recent.append(record)
        yield record


def draw_test_records(
    count: int, *, px: int, seed: int, textures: tuple[str, ...] = ATTRIBUTES["texture"]
) -> Iterator[Record]:
    """Clean, rightly captioned records: every other one a scene that training never sees."""
    for number in range(count):
        rng = np.random.default_rng(derive(seed, "test", number))
        pool = scenes(held_out=bool(number % 2), textures=textures)
        scene = pool[rng.integers(len(pool))]
        yield Record(
            encode(paint(scene, px, rng)), describe(scene, int(rng.integers(99))), f"test/{number:06d}.png", scene
        )


def _draw(
    number: int, file: str, px: int, pool: tuple[Scene, ...], wrong_captions: float, rng: np.random.Generator
) -> Record:
    scene = pool[rng.integers(len(pool))]
    told, said = scene, "right"
    if rng.random() < wrong_captions:
        said = CAPTIONS[1 + rng.integers(2)]
        told = _another(scene, pool, rng) if said == "random" else differing(scene, rng)
    picture = paint(scene, px, rng)
    image, extension = _as_file(picture, file, rng)
    return Record(image, describe(told, int(rng.integers(99))), f"{number:06d}.{extension}", scene, file, said)


def _another(scene: Scene, pool: tuple[Scene, ...], rng: np.random.Generator) -> Scene:
    while True:
        other = pool[rng.integers(len(pool))]
        if other != scene:
            return other


def _copy(record: Record, file: str, number: int, rng: np.random.Generator) -> Record:
    from PIL import Image

    image, extension = record.image, "png"
    if file == "near duplicate":  # saved again with loss, and a little brighter
        picture = np.asarray(Image.open(io.BytesIO(image)), np.int16) + int(rng.integers(1, 6))
        image, extension = encode(picture.clip(0, 255).astype(np.uint8), "JPEG"), "jpg"
    return Record(image, record.caption, f"{number:06d}.{extension}", record.scene, file, record.said)


def _as_file(picture: np.ndarray, file: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """The bytes of a file in that state, and the extension it goes by."""
    match file:
        case "empty":
            made = b"", "png"
        case "no image":
            made = b"<!DOCTYPE html><title>404 Not Found</title>", "jpg"
        case "bomb":
            made = bomb(_BOMB_PX), "png"
        case "tiny":
            made = encode(picture[::8, ::8]), "png"
        case "huge":
            made = encode(picture.repeat(_HUGE_FACTOR, 0).repeat(_HUGE_FACTOR, 1), "JPEG"), "jpg"
        case "wrong extension":
            made = encode(picture, "JPEG"), "png"
        case "rotated":
            made = rotated(picture), "jpg"
        case "cut short":
            whole = encode(picture)
            made = whole[: len(whole) * int(rng.integers(30, 90)) // 100], "png"
        case _:
            made = encode(picture), "png"
    return made


def encode(picture: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    settings = {"compress_level": 1} if format == "PNG" else {"quality": 95, "subsampling": 0}
    Image.fromarray(picture).save(buffer, format, **settings, **options)
    return buffer.getvalue()


def rotated(picture: np.ndarray) -> bytes:
    """A JPEG as a phone held sideways writes it: turned, with an EXIF orientation that turns it back."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned clockwise by a quarter
    return encode(np.rot90(picture).copy(), "JPEG", exif=exif.tobytes())


def bomb(px: int) -> bytes:
    """A PNG of a few bytes whose header promises `px` x `px` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", px, px, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )
