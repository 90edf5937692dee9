"""What is made of stored videos, kept: decoding a clip costs more than a step on it, and every epoch asks for it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

MAX_BYTES = 256 * 2**20
Made = TypeVar("Made", bound=Any)  # an array or tensor: it has `nbytes`


class Kept(Generic[Made]):
    """`make(place)`, remembered until `max_bytes` are full; of places that come later everything is made anew each time.

    Nothing is thrown out: epochs visit all places equally often, so that what is kept is worth as much as what is not.
    """

    def __init__(self, make: Callable[[int], Made], max_bytes: int = MAX_BYTES) -> None:
        self.make, self.max_bytes = make, max_bytes
        self.nbytes = 0
        self._made: dict[int, Made] = {}

    def __call__(self, place: int) -> Made:
        if place in self._made:
            return self._made[place]
        made = self.make(place)
        if self.nbytes + made.nbytes <= self.max_bytes:
            self.nbytes += made.nbytes
            self._made[place] = made
        return made
