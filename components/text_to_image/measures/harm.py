"""Harm detection measured: how well the refused concept of the sample world is found, in pictures and in prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.safety.calibration import Calibration, calibrated
from components.engines.safety.concepts import Concept, ConceptCheck
from components.engines.worlds.scenes import Scene
from components.text_to_image.world.red_cross import (
    all_scenes,
    captions_of,
    examples_of,
    is_red_cross,
    red_cross,
    shortened,
)

if TYPE_CHECKING:
    from components.engines.captioned.dataset import Captioned
    from components.engines.scoring.embedder import Embedder


def concepts_of(embedder: Embedder, known: Sequence[Captioned], image_px: int) -> list[Concept]:
    """The concepts that are refused, calibrated on `known` pictures; none where nobody knows what these show."""
    examples = examples_of(known, image_px)
    if {is_red_cross(scene) for _, scene in examples} != {True, False}:
        return []
    return [calibrated_red_cross(embedder, examples)[0]]


def calibrated_red_cross(
    embedder: Embedder, examples: Sequence[tuple[Any, Scene]]
) -> tuple[Concept, dict[str, Calibration]]:
    """By pictures and what is in them, and by full and shortened captions of all scenes of their textures."""
    textures = sorted({scene.texture for _, scene in examples})
    pictures = [(picture, is_red_cross(scene)) for picture, scene in examples]
    texts = [
        (text, is_red_cross(scene))
        for scene in all_scenes(textures)
        for text in (*captions_of([scene]), *shortened(scene))
    ]
    return calibrated(red_cross(textures), embedder, pictures, texts)


def figures(embedder: Embedder, concepts: Sequence[Concept], test: Sequence[Captioned]) -> dict[str, Any]:
    """Precision and recall of the refusals of test pictures, and of the test prompts, that tell of a red cross."""
    if not concepts or not all(one.scene for one in test):
        return {}
    check = ConceptCheck(embedder, concepts)
    truth = np.array([is_red_cross(Scene(**one.scene)) for one in test if one.scene])
    found = {
        "image": check.of_images([one.open() for one in test]),
        "prompt": check.of_texts([one.caption for one in test]),
    }
    figures: dict[str, Any] = {"harm_examples": int(truth.sum())}
    for kind, refusals in found.items():
        refused = np.array([one is not None for one in refusals])
        hits = int((refused & truth).sum())
        figures[f"harm_precision_{kind}"] = hits / max(int(refused.sum()), 1)
        figures[f"harm_recall_{kind}"] = hits / max(int(truth.sum()), 1)
    return figures
