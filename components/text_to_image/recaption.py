"""Recaptioning: what the filter marked gets a new caption if that fits the image better, and goes if none does."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.captioned.recaption import Recaptioning, recaption_images
from components.text_to_image.filter import Filter


class Recaption(Recaptioning):
    """What becomes of marked pairs."""


def recaption(
    params: Recaption,
    filter: Filter,
    context: StageContext,
    scored: Path,
    scorers: Path,
    clip_model: Path,
    image_captioning_model: Path,
    curated: Path,
    curation: Path,
    recaption_samples: Path,
    recaption_charts: Path,
    recaptioned: Path,
) -> None:
    """Write the pairs that training learns from, with figures and samples of what was changed."""
    recaption_images(
        params,
        filter.threshold,
        context,
        scored=scored,
        scorers=scorers,
        clip_model=clip_model,
        captioner=image_captioning_model,
        curated=curated,
        curation=curation,
        recaption_samples=recaption_samples,
        recaption_charts=recaption_charts,
        recaptioned=recaptioned,
    )


if __name__ == "__main__":
    stage.main(recaption)
