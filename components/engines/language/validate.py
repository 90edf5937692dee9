"""Data checks between cleaning and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext


class TextBounds(Params):
    """Bounds that the cleaned texts must keep."""

    min_train: Positive = 100
    min_test: Positive = 20
    max_mean_words: Positive = 60


def validate_texts(params: TextBounds, context: StageContext, cleaned: Path, checks: Path, checked: Path) -> None:
    """Check the cleaned texts; writes the HTML report `checks` and the result `checked` (JSON)."""
    import pandas as pd

    from components.engines.checks.stage import check_stage
    from components.engines.language.records import Records
    from components.engines.sources.splits import SPLITS
    from components.engines.text.language import count_words

    rows = [
        {"split": split, "key": one.key, **one.texts}
        | {f"{name}_words": count_words(text) for name, text in one.texts.items()}
        for split in SPLITS
        for one in Records(cleaned, split)
    ]
    names = list(Records(cleaned, "train")[0].texts)
    least = {"train": params.min_train, "test": params.min_test, "valid": 1}
    check_stage(
        context,
        pd.DataFrame(rows),
        expectations(params, names),
        name=f"{context.system} texts",
        least=least,
        html=checks,
        result=checked,
    )


def expectations(params: TextBounds, names: Sequence[str]) -> list[Any]:
    """Expectations over a table with columns split and key, and for each of `names` its text and `<name>_words`."""
    from components.engines.checks import expect

    return [
        expect.columns_are("split", *names),
        expect.row_count_between(minimum=params.min_train + params.min_test),
        expect.values_in("split", ["train", "valid", "test"]),
        *(expect.column_not_null(name) for name in names),
        *(expect.lengths_between(name, minimum=1) for name in names),
        expect.unique(names[0], notes="a repeated text would be learnt twice")
        if len(names) == 1
        else expect.compound_unique(*names, notes="a repeated example would be learnt twice"),
        *(expect.mean_between(f"{name}_words", 1, params.max_mean_words) for name in names),
    ]
