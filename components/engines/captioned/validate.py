"""Data checks between cleaning and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.engines.base.errors import StageError
from components.engines.base.params import Fraction, Params, Positive
from components.engines.base.paths import read_json
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

    from components.engines.captioned.dataset import SPLITS, CaptionedImages
    from components.engines.captioned.expectations import expectations
    from components.engines.checks.suite import check

    rows = pd.DataFrame(
        [
            {
                "split": split,
                "key": one.key,
                "caption": one.caption,
                "caption_words": len(one.caption.split()),
                "width": one.told["width"],
                "height": one.told["height"],
                "pixels": one.told["print"]["pixels"],
            }
            for split in SPLITS
            for one in CaptionedImages(cleaned, split)
        ]
    )
    try:
        check(rows, expectations(params), name="captioned images", html=checks, result=checked)
    except StageError as failure:  # outputs of a failed stage go, but this page is what the user needs now
        kept = context.root / "reports" / context.system / "failed_checks.html"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checks, kept)
        raise StageError(failure.what, where=str(kept), do=failure.do) from None
    for split, least in (("train", params.min_train_images), ("test", params.min_test_images), ("valid", 1)):
        found = int((rows["split"] == split).sum())
        if found < least:
            raise StageError(
                f"Only {found} {split} images are left after cleaning, {least} are needed",
                where=f"params.yaml: {context.system}.validate",
                do="give more data, loosen the clean stage, or lower the bound",
            )


def require_passed(checked: Path) -> None:
    """Raises StageError if the checks of this result (JSON) failed."""
    if not read_json(checked)["success"]:
        raise StageError("The data checks failed, so nothing learns from these images", where=str(checked))
