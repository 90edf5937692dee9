"""Moving scenes: one object of a known colour and shape that moves in a known direction, at a known speed, and may turn.

It slows down on its way, as what rolls does: without that a clip played backwards would be as good as any other.

A fixed fifth of all combinations is held out of training: whoever gets these right has learnt motion and looks apart.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from functools import cache
from itertools import product

import numpy as np

from components.engines.base.seeds import derive
from components.engines.worlds.scenes import COLOURS, covering

VECTORS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  # (y, x)
SPEEDS = {"slowly": 0.25, "fast": 0.5}  # sides of the picture per second
STRAIGHT = "straight"
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": ("circle", "square", "triangle", "cross"),
    "direction": tuple(VECTORS),
    "speed": tuple(SPEEDS),
    "turn": (STRAIGHT, *VECTORS),  # where it goes after half of the time
}
PHRASINGS = (
    ("a {colour} {shape} moves {direction} {speed}", ", then turns {turn}"),
    ("the {colour} {shape} goes {direction} {speed}", " and then turns {turn}"),
    ("a {colour} {shape} that {speed} moves {direction}", ", then turns {turn}"),
    ("video of a {colour} {shape} moving {direction} {speed}", ", turning {turn}"),
)
STILL_PHRASINGS = ("a {colour} {shape}", "the {colour} {shape}", "picture of a {colour} {shape}")
TURNING_SHARE = 0.3
HELD_OUT_SHARE = 5  # one combination in five
_RADIUS, _RADIUS_PLAY = 0.16, 0.02  # of the picture's side
_PLACE_PLAY = 0.07
# Things start by so much above their mean speed and end by so much below: clips have a direction in time.
_SLOWING = 0.2
_TINT, _SLOPE, _SHADE = 8.0, 25.0, 6.0  # standard deviations or ranges, of 255


@dataclass(frozen=True)
class Motion:
    """What a clip shows: one value of `ATTRIBUTES` each."""

    colour: str
    shape: str
    direction: str
    speed: str
    turn: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    @property
    def is_held_out(self) -> bool:
        return derive(0, "held-out motion", *astuple(self)) % HELD_OUT_SHARE == 0


@cache
def motions(*, held_out: bool, turning: bool) -> tuple[Motion, ...]:
    """Every combination that training may see, or every one that it may not; of those that turn, or go straight."""
    every = (Motion(*chosen) for chosen in product(*ATTRIBUTES.values()))
    return tuple(
        one for one in every if is_possible(one) and (one.turn != STRAIGHT) == turning and one.is_held_out == held_out
    )


def is_possible(motion: Motion) -> bool:
    """Things turn by a quarter; to turn back or into where one goes already is no turn."""
    if motion.turn == STRAIGHT:
        return True
    return (motion.turn in ("up", "down")) != (motion.direction in ("up", "down"))


def draw(rng: np.random.Generator, *, held_out: bool | None = False) -> Motion:
    """A scene by chance; `held_out` None draws from all."""
    turning = bool(rng.random() < TURNING_SHARE)
    kinds = (False, True) if held_out is None else (held_out,)
    pool = tuple(one for kind in kinds for one in motions(held_out=kind, turning=turning))
    return pool[rng.integers(len(pool))]


def describe(motion: Motion, phrasing: int) -> str:
    """The caption of a moving scene, in one of several ways of saying it (any number; they come round)."""
    said, turned = PHRASINGS[phrasing % len(PHRASINGS)]
    return (said if motion.turn == STRAIGHT else said + turned).format(**asdict(motion))


def describe_still(motion: Motion, phrasing: int) -> str:
    """What one frame of it shows."""
    return STILL_PHRASINGS[phrasing % len(STILL_PHRASINGS)].format(**asdict(motion))


def paint(motion: Motion, px: int, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames at `times` (seconds from the start, which lie evenly around the clip's middle): uint8 [times, px, px, 3].

    Ground, its slope of light, shade, radius and place vary with `rng`; the middle of the way lies near the picture's middle.
    """
    ground = rng.integers(90, 160) + rng.normal(0, _TINT, 3)
    slope = rng.uniform(-_SLOPE, _SLOPE, 2)
    colour = (np.array(COLOURS[motion.colour]) + rng.normal(0, _SHADE, 3)).clip(0, 255)
    radius = px * (_RADIUS + rng.uniform(-_RADIUS_PLAY, _RADIUS_PLAY))
    way = path(motion, times) + 0.5 + rng.uniform(-_PLACE_PLAY, _PLACE_PLAY, 2)  # [times, 2], of the side
    y, x = np.mgrid[:px, :px] + 0.5
    light = slope[0] * (y / px - 0.5) + slope[1] * (x / px - 0.5)
    empty = (ground + light[..., None]).clip(0, 255)
    frames = np.empty((len(times), px, px, 3), np.uint8)
    for frame, (centre_y, centre_x) in zip(frames, way * px, strict=True):
        frame[:] = np.where(covering(motion.shape, y - centre_y, x - centre_x, radius)[..., None], colour, empty)
    return frames


def path(motion: Motion, times: np.ndarray) -> np.ndarray:
    """Where the object is at `times`, relative to the middle of the box around its way, in sides: [times, 2] (y, x)."""
    ends = VECTORS[motion.direction if motion.turn == STRAIGHT else motion.turn]
    passed = times - (times[0] + times[-1]) / 2
    run = passed - _SLOWING / 2 * passed**2 / max(passed[-1], 1e-9)
    before, after = np.minimum(run, 0), np.maximum(run, 0)
    way = SPEEDS[motion.speed] * (np.outer(before, VECTORS[motion.direction]) + np.outer(after, ends))
    return way - (way.max(0) + way.min(0)) / 2
