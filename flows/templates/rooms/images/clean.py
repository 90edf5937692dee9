"""Cleaning: decode and check every image, normalise captions, drop copies and what leaks from testing into training."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.captioned.clean import ImageCleaning, clean_images


class Clean(ImageCleaning):
    """What a usable captioned image looks like."""


def clean(params: Clean, context: StageContext, images: Path, cleaned: Path, cleaning: Path) -> None:
    """Write upright RGB pictures with their captions, and the counts by reason of what was dropped."""
    clean_images(params, context, images, cleaned, cleaning)


if __name__ == "__main__":
    stage.main(clean)
