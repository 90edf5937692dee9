"""Bytes of unknown origin -> an upright RGB picture, or the reason why there is none. The one place where limits are kept."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import BadRecord
from components.engines.base.params import Params, Positive

if TYPE_CHECKING:
    from PIL import Image

# Of Pillow's decoders only these are offered bytes: others (EPS starts Ghostscript) are no formats of photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
GROUND = (255, 255, 255)  # what shows through where a picture is transparent


class Limits(Params):
    """What is decoded at all. A header that promises more than `max_pixels` is believed, and nothing is unpacked."""

    max_bytes: Positive = 50_000_000
    max_pixels: Positive = 64_000_000


def decode_image(data: bytes, limits: Limits) -> Image.Image:
    """The picture as 8-bit RGB, turned as its EXIF orientation says, on white where it is transparent.

    The format is told by the bytes, never by a name; of an animation the first frame is taken; 16-bit greys are scaled.
    Raises BadRecord with one of: `empty file`, `too many bytes`, `not an image`, `too many pixels`, `damaged image`.
    """
    from PIL import Image

    if not data:
        raise BadRecord("empty file")
    if len(data) > limits.max_bytes:
        raise BadRecord("too many bytes", f"{len(data)}, at most {limits.max_bytes}")
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadRecord("too many pixels", str(error)) from None
    except Image.UnidentifiedImageError:
        raise BadRecord("not an image", f"the bytes are none of {', '.join(FORMATS)}") from None
    except _BROKEN as error:
        raise BadRecord("damaged image", _told(error)) from None
    with opened:
        if opened.width * opened.height > limits.max_pixels:
            raise BadRecord("too many pixels", f"{opened.width} x {opened.height}, at most {limits.max_pixels}")
        try:
            opened.load()
            return to_rgb(_upright(opened))
        except _BROKEN as error:
            raise BadRecord("damaged image", _told(error)) from None


# What Pillow's decoders are known to raise on bytes that are cut short or made up.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the EXIF orientation says; EXIF data that cannot be read turn nothing."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's as 8-bit RGB."""
    from PIL import Image

    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, GROUND)
        return Image.alpha_composite(ground, layered).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Any:
    """Greys of more than 8 bits as uint8 (height, width): of 65,535 where they go beyond 255, else as they are."""
    import numpy as np

    greys = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=65535.0, neginf=0.0).clip(0, 65535)
    return (
        (greys / 257 if image.mode.startswith("I;16") or greys.max(initial=0) > 255 else greys).round().astype(np.uint8)
    )


def shrink(image: Image.Image, max_px: int) -> Image.Image:
    """The picture itself, or a smaller one whose longer side is `max_px`."""
    from PIL import Image

    if max(image.size) <= max_px:
        return image
    factor = max_px / max(image.size)
    width, height = (max(round(side * factor), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def encode_png(image: Image.Image) -> bytes:
    """PNG without metadata: equal pictures give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def flat_png(px: int, colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour, made without an image library: importing this module must cost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + bytes(colour) * px) * px
    header = struct.pack(">IIBBBBB", px, px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
