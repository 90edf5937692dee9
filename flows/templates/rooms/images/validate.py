"""Data checks between cleaning and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.captioned.validate import ImageBounds, validate_images


class Validate(ImageBounds):
    """Bounds that the cleaned captioned images must keep."""


def validate(params: Validate, context: StageContext, cleaned: Path, checks: Path, checked: Path) -> None:
    """Check the cleaned images and captions; writes the HTML report `checks` and the result `checked` (JSON)."""
    validate_images(params, context, cleaned, checks, checked)


if __name__ == "__main__":
    stage.main(validate)
