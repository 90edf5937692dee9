"""Thresholds of concepts, from labelled examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.errors import UsageError
from components.engines.safety.concepts import Concept, ConceptCheck

if TYPE_CHECKING:
    from components.engines.scoring.embedder import Embedder


@dataclass(frozen=True)
class Calibration:
    """A threshold, and what it does on the examples it was calibrated on."""

    threshold: float
    precision: float
    recall: float
    positives: int
    examples: int


def calibrate(margins: np.ndarray, shows_it: np.ndarray) -> Calibration:
    """The threshold with the best F2 (to miss one is worse than to refuse one too many); of equals the middle of the widest gap.

    `margins`: float [n]; `shows_it`: bool [n], with both kinds among them.
    """
    positives = int(shows_it.sum())
    if positives in (0, len(shows_it)):
        raise UsageError(
            "A concept cannot be calibrated on examples that all show it, or all do not",
            do="give labelled examples of both kinds",
        )
    order = np.argsort(-margins, kind="stable")
    ordered, hits = margins[order], shows_it[order].cumsum()[:-1]  # hits among the first k = 1 … n - 1
    taken = np.arange(1, len(ordered))
    gaps = ordered[:-1] - ordered[1:]
    f2 = np.where(gaps > 0, 5 * hits / (4 * positives + taken), -1.0)  # between equal margins there is no threshold
    best = max(range(len(f2)), key=lambda k: (f2[k], gaps[k]))
    return Calibration(
        threshold=float((ordered[best] + ordered[best + 1]) / 2),
        precision=float(hits[best] / taken[best]),
        recall=float(hits[best] / positives),
        positives=positives,
        examples=len(margins),
    )


def calibrated(
    concept: Concept,
    embedder: Embedder,
    pictures: Sequence[tuple[Any, bool]],
    texts: Sequence[tuple[str, bool]],
) -> tuple[Concept, dict[str, Calibration]]:
    """The concept with both thresholds, by pictures and texts that show it, or ask for it, or do not."""
    check = ConceptCheck(embedder, [concept])
    shown, truths = zip(*pictures, strict=True)
    asked, meant = zip(*texts, strict=True)
    on_images = calibrate(check.image_margins(shown)[:, 0], np.array(truths))
    on_texts = calibrate(check.text_margins(asked)[:, 0], np.array(meant))
    found = replace(concept, image_threshold=on_images.threshold, text_threshold=on_texts.threshold)
    return found, {"image": on_images, "text": on_texts}
