"""The scene painter: one object of a known colour, shape, position, size and texture on noisy ground, and its caption.

A fixed fifth of all combinations of attributes is held out of training: whoever gets these right has learnt the attributes,
not the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from components.engines.base.seeds import derive

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 70, 220),
    "yellow": (230, 210, 40),
    "purple": (150, 50, 180),
    "orange": (240, 140, 30),
}
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": ("circle", "square", "triangle", "cross"),
    "position": ("top left", "top right", "bottom left", "bottom right"),
    "size": ("small", "large"),
    "texture": ("plain", "striped"),
}
PHRASINGS = (
    "a {size} {texture} {colour} {shape} in the {position}",
    "a {texture} {colour} {shape}, {size}, in the {position}",
    "in the {position} there is a {size} {colour} {shape}, {texture}",
    "{size} {colour} {texture} {shape} at the {position}",
    "picture of a {colour} {shape} that is {size} and {texture}, {position}",
)
FUNCTION_WORDS = frozenset(re.findall(r"\w+", re.sub(r"{\w+}", "", " ".join(PHRASINGS))))
HELD_OUT_SHARE = 5  # one combination in five
_RADII = {"small": 3.8 / 32, "large": 6.6 / 32}  # of the picture's side
_STRIPE = 2 / 32  # width of a stripe, likewise
_NOISE = 6.0  # standard deviation, of 255


@dataclass(frozen=True)
class Scene:
    """What is in a picture: one value of `ATTRIBUTES` each."""

    colour: str
    shape: str
    position: str
    size: str
    texture: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    @property
    def is_held_out(self) -> bool:
        return derive(0, "held-out", *astuple(self)) % HELD_OUT_SHARE == 0


@cache
def scenes(*, held_out: bool, textures: tuple[str, ...] = ATTRIBUTES["texture"]) -> tuple[Scene, ...]:
    """Every combination that training may see, or every one that it may not."""
    values = [*(ATTRIBUTES[name] for name in ("colour", "shape", "position", "size")), textures]
    return tuple(scene for chosen in product(*values) if (scene := Scene(*chosen)).is_held_out == held_out)


def describe(scene: Scene, phrasing: int) -> str:
    """The caption of a scene, in one of several ways of saying it (any number; they come round)."""
    return PHRASINGS[phrasing % len(PHRASINGS)].format(**asdict(scene))


def words_told(caption: str) -> dict[str, list[str]]:
    """The values of each attribute that a caption names, in whole words."""
    return {
        name: [value for value in values if re.search(rf"\b{value}\b", caption.lower())]
        for name, values in ATTRIBUTES.items()
    }


def says_just(caption: str, scene: Scene) -> bool:
    """Whether a caption names the scene's five values, each once, and has no word besides but those of the phrasings."""
    words = re.findall(r"\w+", caption.lower())
    content = sorted(word for word in words if word not in FUNCTION_WORDS)
    return content == sorted(" ".join(astuple(scene)).split()) and words_told(caption)["position"] == [scene.position]


def differing(scene: Scene, rng: np.random.Generator, attributes: Sequence[str] = tuple(ATTRIBUTES)) -> Scene:
    """The scene with exactly one attribute, drawn from `attributes`, changed."""
    name = attributes[int(rng.integers(len(attributes)))]
    others = [value for value in ATTRIBUTES[name] if value != getattr(scene, name)]
    return replace(scene, **{name: others[rng.integers(len(others))]})


def paint(scene: Scene, px: int, rng: np.random.Generator) -> np.ndarray:
    """The picture: uint8, shape (px, px, 3). Ground, place, shade and noise vary with `rng`."""
    ground = rng.integers(90, 160)
    picture = rng.normal(ground, _NOISE, (px, px, 3))
    vertical, horizontal = scene.position.split()
    quarter, play = px // 4, max(px // 32, 1)
    centre_y = (quarter if vertical == "top" else 3 * quarter) + rng.integers(-play, play + 1)
    centre_x = (quarter if horizontal == "left" else 3 * quarter) + rng.integers(-play, play + 1)
    y, x = np.mgrid[:px, :px]
    covered = covering(scene.shape, y - centre_y, x - centre_x, px * _RADII[scene.size])
    colour = np.array(COLOURS[scene.colour]) + rng.normal(0, _NOISE, 3)
    picture[covered] = colour
    if scene.texture == "striped":
        dark = (y // max(round(px * _STRIPE), 1)) % 2 == 0
        picture[covered & dark] = 0.35 * colour
    return picture.clip(0, 255).astype(np.uint8)


def covering(shape: str, dy: np.ndarray, dx: np.ndarray, radius: float) -> np.ndarray:
    """Which pixels belong to the object, given their offsets from its centre: bool, shape (px, px)."""
    if shape == "circle":
        return dy**2 + dx**2 <= radius**2
    if shape == "square":
        return np.maximum(abs(dy), abs(dx)) <= 0.9 * radius
    if shape == "triangle":
        return (dy <= 0.8 * radius) & (dy >= -radius) & (abs(dx) <= 0.6 * (dy + radius))
    return (np.minimum(abs(dy), abs(dx)) <= 0.3 * radius) & (np.maximum(abs(dy), abs(dx)) <= radius)
