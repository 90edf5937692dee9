"""Data checks between cleaning and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.language.validate import TextBounds, validate_texts


class Validate(TextBounds):
    """Bounds that the cleaned texts must keep."""


def validate(params: Validate, context: StageContext, cleaned: Path, checks: Path, checked: Path) -> None:
    """Check the cleaned texts; writes the HTML report `checks` and the result `checked` (JSON)."""
    validate_texts(params, context, cleaned, checks, checked)


if __name__ == "__main__":
    stage.main(validate)
