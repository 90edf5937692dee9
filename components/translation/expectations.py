"""What cleaned pairs must satisfy before anything trains on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.engines.checks import expect

if TYPE_CHECKING:
    from components.translation.validate import Validate


def expectations(params: Validate) -> list[Any]:
    """Expectations over a table with columns split, key, source, target, source_words, target_words."""
    return [
        expect.columns_are("split", "source", "target"),
        expect.row_count_between(minimum=params.min_train_pairs + params.min_test_pairs),
        expect.values_in("split", ["train", "valid", "test"]),
        *(expect.column_not_null(column) for column in ("source", "target")),
        *(expect.lengths_between(column, minimum=1) for column in ("source", "target")),
        expect.compound_unique("source", "target", notes="a repeated pair would be learnt twice"),
        *(expect.mean_between(f"{side}_words", 1, params.max_mean_words) for side in ("source", "target")),
    ]
