"""Data checks between scrubbing and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext
from components.smart_compose.architecture import Personal

# What must not be left, told in another way than it was looked for: by its bare signs.
LEFT = {
    "an e-mail address": r"\S@\w+\.\w",
    "a link": r"://|\bwww\.",
    "a telephone number": r"\d{3}[ ().\-]{1,2}\d{3}[ .\-]\d{4}",
    "a card or account number": r"\d(?:[ \-]?\d){12}",
}


class Validate(Params):
    """Bounds that the mails must keep."""

    min_train: Positive = 100
    min_test: Positive = 20
    max_mean_words: Positive = 100


def validate(
    params: Validate, personal: Personal, context: StageContext, cleaned: Path, checks: Path, checked: Path
) -> None:
    """Check the mails; writes the HTML report `checks` and the result `checked` (JSON)."""
    import pandas as pd

    from components.engines.checks.stage import check_stage
    from components.engines.language.records import Records
    from components.engines.sources.splits import SPLITS
    from components.engines.text.language import count_words

    rows = [
        {"split": split, "key": one.key, "senders": " ".join(one.meta["sender"]), **one.texts}
        | {"words": count_words(one.texts["body"]), "splits": 1}
        for split in SPLITS
        for one in Records(cleaned, split)
    ]
    table = pd.DataFrame(rows)
    named = table[table["senders"] != ""]
    table["splits"] = table["senders"].map(named.groupby("senders")["split"].nunique()).fillna(1)
    least = {"train": params.min_train, "test": params.min_test, "valid": 1}
    check_stage(
        context,
        table,
        expectations(params, personal),
        name="smart_compose mails",
        least=least,
        html=checks,
        result=checked,
    )


def expectations(params: Validate, personal: Personal) -> list[Any]:
    """Expectations over a table with columns split, key, senders, subject, previous, body, words (of the body) and splits (in how
    many a mail's sender is met)."""
    from components.engines.checks import expect

    texts = ("subject", "previous", "body")
    return [
        expect.columns_are("split", "senders", *texts, "words", "splits"),
        expect.row_count_between(minimum=params.min_train + params.min_test),
        expect.values_in("split", ["train", "valid", "test"]),
        expect.unique("key"),
        *(expect.column_not_null(name) for name in texts),
        expect.lengths_between("body", minimum=1),
        expect.mean_between("words", 1, params.max_mean_words),
        expect.values_in("splits", [1], notes="a sender in two splits would be learnt and tested"),
        expect.values_not_match("body", r"^\s*(?:>|-+ ?Original Message)", notes="quotations are somebody else's"),
        *(
            expect.values_not_match(name, pattern, notes=f"{what} would be learnt by heart")
            for name in texts
            for what, pattern in LEFT.items()
            if not personal.keep
        ),
    ]


if __name__ == "__main__":
    stage.main(validate)
