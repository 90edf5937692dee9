"""What can be told of a clip without a model: how it moves, how colourful it is, whether text lies over it.

Frames are [frames, height, width, 3], uint8.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
from scipy.ndimage import uniform_filter1d

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  # (y, x)
_WORDS = re.compile(r"\b(left|right|up|down)(?:wards?)?\b")
_MOVED = 8.0  # of 255: a pixel that changes by less between two frames has not moved
_EDGE = 48.0  # of 255: strokes of text differ so much from what is beside them
_WINDOW = 0.25  # of the width: a line of text has many strokes within so much
_LEAST_FLOW = 1e-3  # sides a frame


def luma(frames: np.ndarray) -> np.ndarray:
    """[frames, height, width], float32, of 255."""
    return frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def motion(frames: np.ndarray) -> float:
    """The share of pixels that move between a frame and the next, averaged; 0 for a still picture shown for a while."""
    shares = [
        (np.abs(other.astype(np.int16) - one).max(-1) > _MOVED).mean() for one, other in itertools.pairwise(frames)
    ]
    return float(np.mean(shares)) if shares else 0.0


def flow(frames: np.ndarray) -> np.ndarray:
    """Where what moves goes, from each frame to the next: [frames - 1, 2] (y, x), in sides of the picture.

    One displacement for all pixels that change, by least squares on the brightness constancy equation (Lucas & Kanade 1981) of
    all three colours, over frames softened so that a step is small beside the slopes. (0, 0) where nothing changes.
    """
    soft = [
        _soft(frame.astype(np.float32), max(frame.shape[0] // 16, 1)) for frame in frames
    ]  # [height, width, 3] each
    found = np.zeros((max(len(soft) - 1, 0), 2))
    for place, (one, other) in enumerate(itertools.pairwise(soft)):
        change = other - one
        moved = np.abs(change) > _MOVED / 4
        if moved.any():
            slope_y, slope_x = np.gradient((one + other) / 2, axis=(0, 1))
            slopes = np.stack([slope_y[moved], slope_x[moved]], 1)
            found[place] = np.linalg.lstsq(slopes, -change[moved], rcond=None)[0]
    return found / np.array(frames.shape[1:3], float)


def directions_told(caption: str) -> list[str]:
    """The directions that a caption names, in its order."""
    return _WORDS.findall(caption.lower())


def motion_fit(caption: str, moved: np.ndarray) -> float | None:
    """How well the directions that a caption names fit a clip's flow [frames - 1, 2]: cosines, the worst of equal parts in time.

    -1 is the other way. None where the caption names no direction, or nothing moves.
    """
    told = directions_told(caption)
    if not told or np.abs(moved).max(initial=0) < _LEAST_FLOW:
        return None
    fits = []
    for name, part in zip(told, np.array_split(moved, len(told)), strict=True):
        mean = part.mean(0) if len(part) else np.zeros(2)
        fits.append(float(mean @ DIRECTIONS[name] / max(float(np.linalg.norm(mean)), 1e-9)))
    return min(fits)


def colourfulness(frames: np.ndarray) -> float:
    """Hasler & Süsstrunk 2003 ("Measuring colourfulness in natural images"), averaged over three frames; 0 is grey."""
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, 3).astype(int))].astype(np.float32)
    red, green, blue = np.moveaxis(chosen, -1, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std((1, 2)), yellow_blue.std((1, 2)))
    mean = np.hypot(red_green.mean((1, 2)), yellow_blue.mean((1, 2)))
    return float((spread + 0.3 * mean).mean())


def text_strokes(frames: np.ndarray) -> float:
    """The largest number of strong edges within a quarter of a row that stay where they are: a line of text has many.

    Counted in the frames' mean, so that what moves leaves no strokes, and averaged over bands of three rows: letters are
    higher than that.
    """
    grey = luma(frames).mean(0)  # [height, width]
    steps = np.diff(grey, axis=1)
    edges = (np.abs(steps) > _EDGE).astype(np.float32)
    window = max(round(_WINDOW * grey.shape[1]), 2)
    sums = np.cumsum(np.pad(edges, ((0, 0), (1, 0))), 1)
    counts = sums[:, window:] - sums[:, :-window]  # [height, places]
    bands = (counts[:-2] + counts[1:-1] + counts[2:]) / 3
    return float(bands.max(initial=0.0))


def jerkiness(moved: np.ndarray) -> float:
    """How unevenly a clip moves: the mean change of its flow [frames - 1, 2] over its mean size; 0 is perfectly smooth."""
    if len(moved) < 2:
        return 0.0
    return float(
        np.linalg.norm(np.diff(moved, axis=0), axis=1).mean()
        / max(float(np.linalg.norm(moved, axis=1).mean()), _LEAST_FLOW)
    )


def _soft(picture: np.ndarray, radius: int) -> np.ndarray:
    """Averaged over boxes of 2 · radius + 1 twice, along both axes: close to a Gaussian."""
    for axis in (0, 0, 1, 1):
        picture = uniform_filter1d(picture, 2 * radius + 1, axis, mode="nearest")
    return picture
