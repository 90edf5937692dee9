"""Equal and nearly equal pictures: what is compared, and an index that finds a near neighbour without looking at all.

Two pictures look alike if their difference hashes (signs of horizontal gradients at 9 x 8 pixels, 64 bits) differ in few bits
and their thumbnails in few grey levels. The hash alone would join different things on flat ground, where gradients are
noise or zero; the thumbnail alone joins nothing that was made brighter.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

HASH_BITS = 64
_SIDE = 8


@dataclass(frozen=True)
class Print:
    """What is kept of a picture to find its like: digest of its pixels, difference hash, thumbnail of 8 x 8 x 3 bytes."""

    pixels: str
    gradients: int
    thumbnail: bytes

    @classmethod
    def of(cls, image: Image.Image) -> Print:
        """Of an RGB picture."""
        from PIL import Image

        digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:32]
        greys = np.asarray(image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), dtype=np.int16)
        bits = np.packbits(greys[:, 1:] > greys[:, :-1]).tobytes()
        thumbnail = image.resize((_SIDE, _SIDE), Image.Resampling.BOX).tobytes()
        return cls(digest, int.from_bytes(bits, "big"), thumbnail)

    def as_dict(self) -> dict[str, str]:
        return {
            "pixels": self.pixels,
            "gradients": f"{self.gradients:0{HASH_BITS // 4}x}",
            "thumbnail": self.thumbnail.hex(),
        }

    @classmethod
    def from_dict(cls, written: dict[str, Any]) -> Print:
        return cls(written["pixels"], int(written["gradients"], 16), bytes.fromhex(written["thumbnail"]))


class Lookalikes:
    """Prints by key; `find` gives the first key entered that is equal, else one that looks alike, and says which.

    Hashes at most `max_bits` apart agree in at least one of `max_bits + 1` bands (pigeonhole), so only pictures that share a
    band are compared.
    """

    def __init__(self, max_bits: int, max_levels: float) -> None:
        self.max_bits, self.max_levels = max_bits, max_levels
        self._equal: dict[str, str] = {}
        self._bands: list[dict[int, list[tuple[str, Print]]]] = [defaultdict(list) for _ in range(max_bits + 1)]

    def add(self, key: str, print_: Print) -> None:
        self._equal.setdefault(print_.pixels, key)
        for band, value in zip(self._bands, self._values(print_.gradients), strict=True):
            band[value].append((key, print_))

    def find(self, print_: Print) -> tuple[str, bool] | None:
        """(key, whether it is equal and not merely alike), or None."""
        if print_.pixels in self._equal:
            return self._equal[print_.pixels], True
        for band, value in zip(self._bands, self._values(print_.gradients), strict=True):
            for key, other in band.get(value, ()):
                if self.alike(print_, other):
                    return key, False
        return None

    def alike(self, one: Print, other: Print) -> bool:
        if (one.gradients ^ other.gradients).bit_count() > self.max_bits:
            return False
        mine, theirs = (np.frombuffer(p.thumbnail, np.uint8).astype(np.int16) for p in (one, other))
        return float(abs(mine - theirs).mean()) <= self.max_levels

    def _values(self, gradients: int) -> Iterator[int]:
        """The hash cut into bands of nearly equal width."""
        bands = self.max_bits + 1
        for number in range(bands):
            low, high = number * HASH_BITS // bands, (number + 1) * HASH_BITS // bands
            yield gradients >> low & ((1 << (high - low)) - 1)
