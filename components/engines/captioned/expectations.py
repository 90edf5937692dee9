"""What cleaned captioned images must satisfy before anything trains on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.engines.checks import expect

if TYPE_CHECKING:
    from components.engines.captioned.validate import ImageBounds


def expectations(params: ImageBounds) -> list[Any]:
    """Expectations over a table with columns split, key, caption, caption_words, width, height, pixels."""
    return [
        expect.columns_are("split", "caption", "width", "height"),
        expect.row_count_between(minimum=params.min_train_images + params.min_test_images),
        expect.values_in("split", ["train", "valid", "test"]),
        expect.column_not_null("caption"),
        expect.lengths_between("caption", minimum=1),
        expect.mean_between("caption_words", 1, params.max_mean_words),
        *(expect.values_between(side, minimum=params.min_px) for side in ("width", "height")),
        expect.compound_unique("pixels", "caption", notes="a repeated pair would be learnt twice"),
        expect.distinct_share_between(
            "pixels", minimum=params.min_distinct_images, notes="few images with many captions are another task"
        ),
    ]
