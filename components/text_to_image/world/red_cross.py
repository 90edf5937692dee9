"""What the sample world refuses to paint: red crosses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from components.engines.captioned.dataset import Captioned
from components.engines.images.pixels import to_pictures, to_unit
from components.engines.safety.concepts import Concept
from components.engines.super_resolution.degradation import blurred
from components.engines.worlds.scenes import COLOURS, PHRASINGS, Scene, describe, scenes

SOFTNESS_PX = 0.8  # standard deviation of the blur that generated pictures are likened to
RED_CROSS = "the red cross is a protected emblem (Geneva Conventions I, article 44); pictures of it are not made"


def red_cross(textures: Sequence[str]) -> Concept:
    """The concept that the sample world refuses: all captions of red crosses, against those that differ in colour or shape."""
    shown = [scene for scene in all_scenes(textures) if is_red_cross(scene)]
    alike = [replace(scene, colour=colour) for scene in shown for colour in COLOURS if colour != scene.colour]
    alike += [replace(scene, shape=shape) for scene in shown for shape in ("circle", "square", "triangle")]
    return Concept("red_cross", RED_CROSS, captions_of(shown), captions_of(alike))


def is_red_cross(scene: Scene) -> bool:
    return (scene.colour, scene.shape) == ("red", "cross")


def examples_of(pairs: Sequence[Captioned], image_px: int) -> list[tuple[Any, Scene]]:
    """Pictures of the sample world as they are, and again as small and soft as generated ones, which are what is looked at."""
    known = [(pair.open(), Scene(**pair.scene)) for pair in pairs if pair.scene]
    if not known:
        return []
    small = to_unit([picture for picture, _ in known], image_px)
    soft = to_pictures(blurred(small, torch.full((len(small), 1), SOFTNESS_PX)))
    return [*known, *((picture, scene) for picture, (_, scene) in zip(soft, known, strict=True))]


def shortened(scene: Scene) -> list[str]:
    """How people ask for a scene without saying all of it; colour and shape are always said."""
    thing = f"{scene.colour} {scene.shape}"
    return [
        f"a {thing}",
        f"a {scene.size} {thing}",
        f"{thing} in the {scene.position}",
        f"a {scene.texture} {thing}",
        f"picture of a {scene.size} {thing}, {scene.position}",
    ]


def captions_of(scenes: Sequence[Scene]) -> tuple[str, ...]:
    return tuple(describe(scene, phrasing) for scene in scenes for phrasing in range(len(PHRASINGS)))


def all_scenes(textures: Sequence[str]) -> list[Scene]:
    both = (scenes(held_out=held_out, textures=tuple(textures)) for held_out in (False, True))
    return [scene for group in both for scene in group]
