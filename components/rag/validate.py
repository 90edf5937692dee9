"""Data checks between chunking and training: a failed expectation stops the run and shows the rows that failed."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext


class Validate(Params):
    """Bounds that chunks and questions must keep."""

    min_train: Positive = 50
    min_test: Positive = 20
    max_chars: Positive = 20_000


def validate(
    params: Validate, context: StageContext, documents: Path, chunks: Path, checks: Path, checked: Path
) -> None:
    """Check chunks and questions; writes the HTML report `checks` and the result `checked` (JSON)."""
    import pandas as pd

    from components.engines.base.paths import read_jsonl
    from components.engines.checks import expect
    from components.engines.checks.stage import check_stage
    from components.rag.measures.questions import load_chunks

    found = load_chunks(chunks)
    rows = [
        {"split": "chunks", "key": one.id, "text": one.text, "page": one.page, "chars": len(one.text)} for one in found
    ]
    rows += [
        {
            "split": asked["split"],
            "key": asked["id"],
            "text": asked["question"],
            "page": 1,
            "chars": len(asked["question"]),
        }
        for asked in read_jsonl(documents / "questions.jsonl")
    ]
    expectations = [
        expect.columns_are("split", "key", "text"),
        expect.values_in("split", ["chunks", "train", "valid", "test"]),
        expect.column_not_null("text"),
        expect.unique("key", notes="two chunks of one name could not be told apart in a citation"),
        expect.lengths_between("text", minimum=1, maximum=params.max_chars),
    ]
    least = {"train": params.min_train, "test": params.min_test, "chunks": 1}
    check_stage(
        context,
        pd.DataFrame(rows),
        expectations,
        name="rag chunks and questions",
        least=least,
        html=checks,
        result=checked,
    )


if __name__ == "__main__":
    stage.main(validate)
