"""Cleaning: normalise texts, drop what is empty or too long, drop copies and what leaks from testing into training."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.language.clean import TextCleaning, clean_texts


class Clean(TextCleaning):
    """What a usable example looks like."""


def clean(params: Clean, context: StageContext, texts: Path, cleaned: Path, cleaning: Path) -> None:
    """Write the usable examples, and the counts by reason of what was dropped."""
    clean_texts(params, context, texts, cleaned, cleaning)


if __name__ == "__main__":
    stage.main(clean)
