"""Data checks between cleaning and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.params import Fraction, Params, Positive
from components.engines.base.stage import StageContext


class ImageBounds(Params):
    """Bounds that the cleaned captioned images must keep."""

    min_train_images: Positive = 100
    min_test_images: Positive = 20
    min_px: Positive = 4
    max_mean_words: Positive = 60
    min_distinct_images: Fraction = 0.1


def validate_images(params: ImageBounds, context: StageContext, cleaned: Path, checks: Path, checked: Path) -> None:
    """Check the cleaned images and captions; writes the HTML report `checks` and the result `checked` (JSON)."""
    import pandas as pd

    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.checks.stage import check_stage
    from components.engines.sources.splits import SPLITS

    rows = pd.DataFrame(
        [
            {
                "split": split,
                "key": one.key,
                "caption": one.caption,
                "caption_words": len(one.caption.split()),
                "width": one.metadata["width"],
                "height": one.metadata["height"],
                "pixels": one.metadata["print"]["pixels"],
            }
            for split in SPLITS
            for one in CaptionedImages(cleaned, split)
        ]
    )
    least = {"train": params.min_train_images, "test": params.min_test_images, "valid": 1}
    check_stage(context, rows, expectations(params), name="captioned images", least=least, html=checks, result=checked)


def expectations(params: ImageBounds) -> list[Any]:
    """Expectations over a table with columns split, key, caption, caption_words, width, height, pixels."""
    from components.engines.checks import expect

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
