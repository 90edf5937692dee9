"""Harm detection measured: how well the refused concept of the sample world is found, in pictures and in prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.text_to_image.safety import Concept, ConceptCheck, calibrated, examples_of, is_red_cross, red_cross

if TYPE_CHECKING:
    from components.engines.captioned.dataset import Captioned
    from components.engines.scoring.embedder import Embedder


def concepts_of(embedder: Embedder, known: Sequence[Captioned], image_px: int) -> list[Concept]:
    """The concepts that are refused, calibrated on `known` pictures; none where nobody knows what these show."""
    examples = examples_of(known, image_px)
    shown = {is_red_cross(scene) for _, scene in examples}
    if shown != {True, False}:
        return []
    concept = red_cross(sorted({scene.texture for _, scene in examples}))
    return [calibrated(concept, embedder, examples, is_red_cross)[0]]


def figures(embedder: Embedder, concepts: Sequence[Concept], test: Sequence[Captioned]) -> dict[str, Any]:
    """Precision and recall of the refusals of test pictures, and of the test prompts, that tell of a red cross."""
    from components.engines.worlds.scenes import Scene

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
