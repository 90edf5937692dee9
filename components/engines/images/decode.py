"""Bytes of unknown origin -> an upright RGB picture, or the reason why there is none. The one place where limits are kept."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from components.engines.base.errors import BadRecord
from components.engines.base.params import Params, Positive

if TYPE_CHECKING:
    from PIL import Image

# Of Pillow's decoders only these are offered bytes: others (EPS starts Ghostscript) are no formats of photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # AVIF where Pillow was built with it
_STRIP_PIXELS = 1 << 20
_OVERSHOOT = 1.1  # shares of a picture that was enlarged or sharpened go beyond 1
_DARKEST = 16  # greys of 32 bits none of which is brighter are labels or another range, not a picture
GROUND = (255, 255, 255)  # what shows through where a picture is transparent


class Limits(Params):
    """What is decoded at all. A header that promises more than `max_pixels` is believed, and nothing is unpacked."""

    max_bytes: Positive = 50_000_000
    max_pixels: Positive = 64_000_000


def decode_image(data: bytes, limits: Limits) -> Image.Image:
    """The picture as 8-bit RGB, turned as its EXIF orientation says, on white where it is transparent.

    The format is told by the bytes, never by a name; of an animation the first frame is taken; 16-bit greys, and floats from 0
    to 1, are scaled. Raises BadRecord with one of: `empty file`, `too many bytes`, `not an image`, `too many pixels`,
    `damaged image`, `unknown range of values`.
    """
    from PIL import Image

    if not data:
        raise BadRecord("empty file")
    if len(data) > limits.max_bytes:
        raise BadRecord("too many bytes", f"{len(data)}, at most {limits.max_bytes}")
    try:
        opened = Image.open(io.BytesIO(data), formats=_formats())
    except Image.DecompressionBombError as error:
        raise BadRecord("too many pixels", str(error)) from None
    except Image.UnidentifiedImageError:
        raise BadRecord("not an image", f"the bytes are none of {', '.join(_formats())}") from None
    except _OURS:
        raise
    except Exception as error:
        raise BadRecord("damaged image", _told(error)) from None
    with opened:
        if opened.width * opened.height > limits.max_pixels:
            raise BadRecord("too many pixels", f"{opened.width} x {opened.height}, at most {limits.max_pixels}")
        try:
            opened.load()
            return to_rgb(_upright(opened))
        except (BadRecord, *_OURS):
            raise
        except Exception as error:
            raise BadRecord("damaged image", _told(error)) from None


# Not the picture's fault. Anything else that a decoder raises is: no list of kinds has ever been complete.
_OURS = (MemoryError,)


def _formats() -> tuple[str, ...]:
    from PIL import features

    return FORMATS if features.check("avif") else FORMATS[:-1]


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the EXIF orientation says; EXIF data that cannot be read turn nothing. No other tag is looked at."""
    from PIL import Image

    try:
        orientation = image.getexif().get(0x0112)
    except _OURS:
        raise
    except Exception:  # whatever is wrong with a tag, the picture is not
        return image
    turn = Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's as 8-bit RGB."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _in_strips(image, partial(_eight_bits, scale=_scale(image)))
    if image.has_transparency_data:
        return _in_strips(image, _on_ground)
    return image.convert("RGB")


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """An RGB picture made a few rows at a time: what is made on the way has four to eight times the picture's bytes."""
    from PIL import Image

    made = Image.new("RGB", image.size)
    rows = max(_STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        made.paste(convert(image.crop((0, top, image.width, min(top + rows, image.height)))), (0, top))
    return made


def _on_ground(image: Image.Image) -> Image.Image:
    from PIL import Image

    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, GROUND), layered).convert("RGB")


def _scale(image: Image.Image) -> float:
    """What greys of more than 8 bits are divided by: floats may be shares of 1, all others go up to 255 or to 65535.

    Raises BadRecord for values of no such range (negative ones, heights, counts, labels): black or white would be made of them.
    """
    import math

    shares, deep = image.mode == "F", image.mode.startswith("I;16")
    low, high = cast(tuple[float, float], image.getextrema())
    if shares and not (math.isfinite(low) and math.isfinite(high)):
        low, high = _finite_extremes(image)
    if shares and high <= _OVERSHOOT:
        scale, darkest = 1 / 255, 0
    else:
        scale, darkest = 257 if deep or high > 255 * _OVERSHOOT else 1, 1 if deep else _DARKEST
    if low < 0 or high > 65535 or 0 < high / scale < darkest:
        raise BadRecord("unknown range of values", f"from {low:g} to {high:g}; 0 to 1, 255 or 65535 are known")
    return scale


def _finite_extremes(image: Image.Image) -> tuple[float, float]:
    """Of the values that are numbers (NaN marks what a sensor missed)."""
    import numpy as np

    greys = np.asarray(image)
    finite = np.isfinite(greys)
    if not finite.any():
        raise BadRecord("unknown range of values", "none of its values is a number")
    return float(greys.min(where=finite, initial=np.inf)), float(greys.max(where=finite, initial=-np.inf))


def _eight_bits(image: Image.Image, scale: float) -> Image.Image:
    import numpy as np
    from PIL import Image

    greys = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=65535.0, neginf=0.0).clip(0, 255 * scale)
    return Image.fromarray((greys / scale).round().astype(np.uint8)).convert("RGB")


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
