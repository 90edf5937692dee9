"""The relevance filter: CLIP scores every pair; those below the threshold are marked, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.captioned.filter import RelevanceFilter, filter_images


class Filter(RelevanceFilter):
    """Which pairs are marked as irrelevant."""


def filter(
    params: Filter,
    context: StageContext,
    text_to_image_cleaned: Path,
    checked: Path,
    model: Path,
    recipe: Path,
    clip_cleaned: Path,
    scored: Path,
    scorers: Path,
    filtering: Path,
    filter_scores: Path,
    filter_charts: Path,
) -> None:
    """Write every pair with its score by the CLIP `model` and its mark, and figures of both."""
    filter_images(
        params,
        context,
        cleaned=text_to_image_cleaned,
        checked=checked,
        model=model,
        recipe=recipe,
        learnt=clip_cleaned,
        scored=scored,
        scorers=scorers,
        filtering=filtering,
        filter_scores=filter_scores,
        filter_charts=filter_charts,
    )


if __name__ == "__main__":
    stage.main(filter)
