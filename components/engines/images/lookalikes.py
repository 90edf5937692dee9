"""Equal and nearly equal pictures: what is kept of a picture to compare it, and a search over what was kept.

Two pictures look alike if their difference hashes (signs of horizontal gradients at 9 x 8 pixels, 64 bits) differ in few bits,
their thumbnails nowhere by many levels, and both the pattern and the colours of these by a share of what there is. The hash alone
would join different things on flat ground, where gradients are noise or zero; the mean of a thumbnail would join small things on
one ground; and in a dark picture few levels are another hue, or a turned pattern.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 8
MAX_BITS, MAX_LEVELS = 12, 24  # of 64 and of 255: what is nearly equal, unless params say otherwise
# How far patterns and colours of copies are apart: a share of contrast and of saturation, and the noise of saving with loss.
_PATTERN_SHARE, _LUMA_NOISE = 0.35, 1.0
_COLOUR_SHARE, _CHROMA_NOISE = 0.3, 2.0


@dataclass(frozen=True)
class Print:
    """What is kept of a picture: a digest of its pixels, its difference hash, and a thumbnail of 8 x 8 x 3 bytes."""

    pixels: str
    gradients: int
    thumbnail: bytes

    @classmethod
    def of(cls, image: Image.Image) -> Print:
        """Of an RGB picture."""
        from PIL import Image

        digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:32]
        greys = image.convert("L").convert("F")  # floats, because rounding would flip the signs of small gradients
        coarse = np.asarray(greys.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX))
        bits = np.packbits(coarse[:, 1:] > coarse[:, :-1]).tobytes()
        thumbnail = image.resize((_SIDE, _SIDE), Image.Resampling.BOX).tobytes()
        return cls(digest, int.from_bytes(bits, "big"), thumbnail)

    def as_dict(self) -> dict[str, str]:
        return {"pixels": self.pixels, "gradients": f"{self.gradients:016x}", "thumbnail": self.thumbnail.hex()}

    @classmethod
    def from_dict(cls, written: dict[str, Any]) -> Print:
        return cls(written["pixels"], int(written["gradients"], 16), bytes.fromhex(written["thumbnail"]))


class Lookalikes:
    """Prints that were added; `find` gives the first equal one, else the first that looks alike.

    Hashes are compared with all that are there, 64 bits a picture in one array: 0.5 ms a million, and nothing is missed.
    """

    def __init__(self, max_bits: int, max_levels: int) -> None:
        self.max_bits, self.max_levels = max_bits, max_levels
        self._keys: list[str] = []
        self._equal: dict[str, int] = {}
        self._gradients = np.empty(1024, np.uint64)
        self._thumbnails = np.empty((1024, _SIDE * _SIDE * 3), np.uint8)

    def add(self, key: str, print_: Print) -> None:
        place = len(self._keys)
        if place == len(self._gradients):
            self._gradients = np.concatenate([self._gradients, np.empty_like(self._gradients)])
            self._thumbnails = np.concatenate([self._thumbnails, np.empty_like(self._thumbnails)])
        self._keys.append(key)
        self._equal.setdefault(print_.pixels, place)
        self._gradients[place] = print_.gradients
        self._thumbnails[place] = np.frombuffer(print_.thumbnail, np.uint8)

    def find(self, print_: Print) -> tuple[str, bool] | None:
        """(key, whether it is equal and not merely alike), or None."""
        if print_.pixels in self._equal:
            return self._keys[self._equal[print_.pixels]], True
        bits = np.bitwise_count(self._gradients[: len(self._keys)] ^ np.uint64(print_.gradients))
        candidates = np.flatnonzero(bits <= self.max_bits)
        if not len(candidates):
            return None
        thumbnail = np.frombuffer(print_.thumbnail, np.uint8)
        levels = np.abs(self._thumbnails[candidates].astype(np.int16) - thumbnail).max(1)
        alike = candidates[levels <= self.max_levels]
        if not len(alike):
            return None
        alike = alike[_same_pattern_and_colours(self._thumbnails[alike], thumbnail)]
        return (self._keys[alike[0]], False) if len(alike) else None


def _same_pattern_and_colours(thumbnails: np.ndarray, thumbnail: np.ndarray) -> np.ndarray:
    """Which of (n, 192) thumbnails have the luma of (192,) but for its mean, and its chroma in each quarter of the picture."""
    luma_nyx, chroma_nqc = _luma_and_chroma(thumbnails)
    own_1yx, own_1qc = _luma_and_chroma(thumbnail[None])
    apart = (luma_nyx - own_1yx).std((1, 2))
    contrast = np.minimum(luma_nyx.std((1, 2)), own_1yx.std((1, 2)))
    tinged = _norm(chroma_nqc - own_1qc)
    saturation = np.maximum(_norm(chroma_nqc), _norm(own_1qc))
    return (apart <= np.maximum(_LUMA_NOISE, _PATTERN_SHARE * contrast)) & (
        tinged <= np.maximum(_CHROMA_NOISE, _COLOUR_SHARE * saturation)
    )


def _luma_and_chroma(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Y of every pixel (n, 8, 8), and Cb and Cr of every quarter (n, 4, 2), as JPEG has them (ITU-T T.871)."""
    half = _SIDE // 2
    rgb = thumbnails.reshape(-1, _SIDE, _SIDE, 3).astype(np.float32)
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    chroma = np.stack([(rgb[..., 2] - luma) / 1.772, (rgb[..., 0] - luma) / 1.402], -1)
    return luma, chroma.reshape(-1, 2, half, 2, half, 2).mean((2, 4)).reshape(-1, 4, 2)


def _norm(chroma_nqc: np.ndarray) -> np.ndarray:
    return np.sqrt((chroma_nqc**2).sum(2).mean(1))
