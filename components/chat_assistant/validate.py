"""Data checks between cleaning and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext


class Validate(Params):
    """Bounds that the records of each kind must keep."""

    min_train: Positive = 100
    min_test: Positive = 10
    max_mean_words: Positive = 300


def validate(params: Validate, context: StageContext, cleaned: Path, checks: Path, checked: Path) -> None:
    """Check the records of all kinds together; writes the HTML report `checks` and the result `checked` (JSON)."""
    import pandas as pd

    from components.chat_assistant.ingest import KINDS
    from components.engines.checks.stage import check_stage
    from components.engines.language.records import Records
    from components.engines.sources.splits import SPLITS
    from components.engines.text.language import count_words

    rows = [
        {
            "split": split,
            "kind": kind,
            "key": one.key,
            "said": "\n".join(one.texts.values()),
            "words": count_words(" ".join(one.texts.values())),
            "margin": one.meta.get("margin"),
        }
        for kind in KINDS
        for split in SPLITS
        for one in Records(cleaned / kind, split)
    ]
    table = pd.DataFrame(rows)
    table["margin"] = table["margin"].astype(float)
    least = {"train": params.min_train, "test": params.min_test, "valid": 1}
    check_stage(
        context, table, expectations(params), name="chat_assistant records", least=least, html=checks, result=checked
    )


def expectations(params: Validate) -> list[Any]:
    """Expectations over a table with columns split, kind, key, said (all texts of a record), words (in them) and margin."""
    from components.chat_assistant.ingest import KINDS
    from components.engines.checks import expect

    return [
        expect.columns_are("split", "kind", "key", "said", "words", "margin"),
        expect.row_count_between(minimum=params.min_train + params.min_test),
        expect.values_in("split", ["train", "valid", "test"]),
        expect.values_in("kind", list(KINDS)),
        expect.unique("key"),
        expect.lengths_between("said", minimum=1),
        expect.compound_unique("kind", "said", notes="a repeated record would be learnt twice"),
        expect.mean_between("words", 1, params.max_mean_words),
        expect.values_between("margin", 0, notes="a margin is how much better the chosen answer is"),
        expect.values_not_match("said", r"\S@\w+\.\w", notes="an address would be learnt by heart"),
    ]


if __name__ == "__main__":
    stage.main(validate)
