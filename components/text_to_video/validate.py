"""Data checks before anything is learnt: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext


class Validate(Params):
    """Bounds that the curated clips must keep."""

    min_train_clips: Positive = 100
    min_test_clips: Positive = 20
    min_px: Positive = 16
    max_mean_words: Positive = 80


def validate(params: Validate, context: StageContext, curated: Path, checks: Path, checked: Path) -> None:
    """Check the curated clips; writes the HTML report `checks` and the result `checked` (JSON)."""
    import pandas as pd

    from components.engines.checks.stage import check_stage
    from components.engines.sources.splits import SPLITS
    from components.engines.videos.dataset import Videos

    rows = pd.DataFrame(
        [
            {
                "split": split,
                "key": one.key,
                "caption": one.caption,
                "caption_words": len(one.caption.split()),
                **{name: one.metadata[name] for name in ("frames", "height", "width")},
            }
            for split in SPLITS
            for one in Videos(curated, split)
        ]
    )
    least = {"train": params.min_train_clips, "test": params.min_test_clips, "valid": 1}
    check_stage(context, rows, expectations(params), name="captioned clips", least=least, html=checks, result=checked)


def expectations(params: Validate) -> list[Any]:
    """Expectations over a table with columns split, key, caption, caption_words, frames, height, width."""
    from components.engines.checks import expect

    return [
        expect.columns_are("split", "caption", "frames", "height", "width"),
        expect.row_count_between(minimum=params.min_train_clips + params.min_test_clips),
        expect.values_in("split", ["train", "valid", "test"]),
        expect.column_not_null("caption"),
        expect.lengths_between("caption", minimum=1),
        expect.mean_between("caption_words", 1, params.max_mean_words),
        expect.values_between("frames", minimum=1),
        *(expect.values_between(side, minimum=params.min_px) for side in ("height", "width")),
        expect.compound_unique("key", "split", notes="a repeated clip would be learnt twice"),
    ]


if __name__ == "__main__":
    stage.main(validate)
