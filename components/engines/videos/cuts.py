"""Shot boundaries: frames that differ from the one before by much more than their neighbours do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

_SIDE = 16  # frames are compared as thumbnails of so many pixels a side
_AROUND = 2  # frames on either side that say how much change is usual here


def changes(frames: Iterable[np.ndarray]) -> Iterator[float]:
    """Mean absolute difference (of 255) of each frame's thumbnail to the one before; frames are [height, width, 3], uint8."""
    before = None
    for frame in frames:
        now = _thumbnail(frame)
        if before is not None:
            yield float(np.abs(now - before).mean())
        before = now


def cuts(differences: list[float], *, threshold: float, ratio: float) -> list[int]:
    """The numbers of frames that begin a shot: their change is `threshold` (of 255) or more and `ratio` times that around it.

    Change relative to its surroundings tells a cut from fast motion, as in PySceneDetect's adaptive detector.
    """
    found = []
    for place, change in enumerate(differences):
        around = [
            *differences[max(place - _AROUND, 0) : place],
            *differences[place + 1 : place + 1 + _AROUND],
        ]
        if change >= threshold and change >= ratio * (np.mean(around) if around else 0.0):
            found.append(place + 1)
    return found


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """Means over a grid: [side, side, 3], float32 (fewer cells for smaller frames)."""
    rows, columns = (np.linspace(0, side, min(_SIDE, side) + 1).astype(int)[:-1] for side in frame.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(frame.astype(np.float32), rows, 0), columns, 1)
    counts = np.outer(np.diff([*rows, frame.shape[0]]), np.diff([*columns, frame.shape[1]]))
    return sums / counts[..., None]
