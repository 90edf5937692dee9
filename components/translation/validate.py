"""Data checks between cleaning and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.engines.base import stage
from components.engines.base.errors import StageError
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext


class Validate(Params):
    """Bounds that the cleaned pairs must keep."""

    min_train_pairs: Positive = 100
    min_test_pairs: Positive = 20
    max_mean_words: Positive = 60


def validate(params: Validate, context: StageContext, cleaned: Path, checks: Path, checked: Path) -> None:
    """Check the cleaned pairs; writes the HTML report `checks` and the result `checked` (JSON)."""
    import pandas as pd

    from components.engines.checks.suite import check
    from components.translation.expectations import expectations
    from components.translation.pairs import SPLITS, Pairs

    rows = pd.DataFrame(
        [
            {
                "split": split,
                "key": pair.key,
                "source": pair.source,
                "target": pair.target,
                "source_words": len(pair.source.split()),
                "target_words": len(pair.target.split()),
            }
            for split in SPLITS
            for pair in Pairs(cleaned, split)
        ]
    )
    try:
        check(rows, expectations(params), name="translation pairs", html=checks, result=checked)
    except StageError as failure:  # outputs of a failed stage go, but this page is what the user needs now
        kept = context.root / "reports" / context.system / "failed_checks.html"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checks, kept)
        raise StageError(failure.what, where=str(kept), do=failure.do) from None
    for split, least in (("train", params.min_train_pairs), ("test", params.min_test_pairs), ("valid", 1)):
        found = int((rows["split"] == split).sum())
        if found < least:
            raise StageError(
                f"Only {found} {split} pairs are left after cleaning, {least} are needed",
                where="params.yaml: translation.validate",
                do="give more data, loosen translation.clean, or lower the bound",
            )


if __name__ == "__main__":
    stage.main(validate)
