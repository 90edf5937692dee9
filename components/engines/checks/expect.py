"""The expectations rooms use, so that no room imports great_expectations (4.5 s) or knows its class names.

Each function returns a Great Expectations object. `mostly` is the share of rows that must comply; `notes` says in the
report why this must hold. Rows with a null in the column are left out of every column check but `column_not_null`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def _make(kind: str, notes: str | None, **settings: Any) -> Any:
    from components.engines.checks.gx import load_gx

    given = {name: value for name, value in settings.items() if value is not None}
    return getattr(load_gx().expectations, kind)(**given, **({} if notes is None else {"notes": notes}))


def columns_are(*columns: str, exactly: bool = False, notes: str | None = None) -> Any:
    """These columns exist; with `exactly` no others do."""
    return _make("ExpectTableColumnsToMatchSet", notes, column_set=list(columns), exact_match=exactly)


def row_count_between(minimum: int | None = None, maximum: int | None = None, *, notes: str | None = None) -> Any:
    return _make("ExpectTableRowCountToBeBetween", notes, min_value=minimum, max_value=maximum)


def column_not_null(column: str, *, mostly: float = 1.0, notes: str | None = None) -> Any:
    return _make("ExpectColumnValuesToNotBeNull", notes, column=column, mostly=mostly)


def unique(column: str, *, mostly: float = 1.0, notes: str | None = None) -> Any:
    return _make("ExpectColumnValuesToBeUnique", notes, column=column, mostly=mostly)


def compound_unique(*columns: str, notes: str | None = None) -> Any:
    """No two rows agree in all of these columns."""
    return _make("ExpectCompoundColumnsToBeUnique", notes, column_list=list(columns))


def values_between(
    column: str,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    mostly: float = 1.0,
    notes: str | None = None,
) -> Any:
    return _make(
        "ExpectColumnValuesToBeBetween", notes, column=column, min_value=minimum, max_value=maximum, mostly=mostly
    )


def lengths_between(
    column: str,
    minimum: int | None = None,
    maximum: int | None = None,
    *,
    mostly: float = 1.0,
    notes: str | None = None,
) -> Any:
    """Texts have this many characters."""
    return _make(
        "ExpectColumnValueLengthsToBeBetween", notes, column=column, min_value=minimum, max_value=maximum, mostly=mostly
    )


def values_in(column: str, allowed: Sequence[Any], *, mostly: float = 1.0, notes: str | None = None) -> Any:
    return _make("ExpectColumnValuesToBeInSet", notes, column=column, value_set=list(allowed), mostly=mostly)


def values_not_in(column: str, refused: Sequence[Any], *, mostly: float = 1.0, notes: str | None = None) -> Any:
    return _make("ExpectColumnValuesToNotBeInSet", notes, column=column, value_set=list(refused), mostly=mostly)


def values_match(column: str, regex: str, *, mostly: float = 1.0, notes: str | None = None) -> Any:
    return _make("ExpectColumnValuesToMatchRegex", notes, column=column, regex=regex, mostly=mostly)


def values_not_match(column: str, regex: str, *, mostly: float = 1.0, notes: str | None = None) -> Any:
    return _make("ExpectColumnValuesToNotMatchRegex", notes, column=column, regex=regex, mostly=mostly)


def mean_between(
    column: str, minimum: float | None = None, maximum: float | None = None, *, notes: str | None = None
) -> Any:
    return _make("ExpectColumnMeanToBeBetween", notes, column=column, min_value=minimum, max_value=maximum)


def median_between(
    column: str, minimum: float | None = None, maximum: float | None = None, *, notes: str | None = None
) -> Any:
    return _make("ExpectColumnMedianToBeBetween", notes, column=column, min_value=minimum, max_value=maximum)


def stdev_between(
    column: str, minimum: float | None = None, maximum: float | None = None, *, notes: str | None = None
) -> Any:
    return _make("ExpectColumnStdevToBeBetween", notes, column=column, min_value=minimum, max_value=maximum)


def distinct_share_between(
    column: str, minimum: float | None = None, maximum: float | None = None, *, notes: str | None = None
) -> Any:
    """Share of distinct values among all: low means copies, high in a class column means noise."""
    kind = "ExpectColumnProportionOfUniqueValuesToBeBetween"
    return _make(kind, notes, column=column, min_value=minimum, max_value=maximum)


def distinct_values_are(column: str, values: Sequence[Any], *, notes: str | None = None) -> Any:
    """Exactly these values occur (a split, a class or a language that vanished is found)."""
    return _make("ExpectColumnDistinctValuesToEqualSet", notes, column=column, value_set=list(values))


def pair_greater(
    column: str, than: str, *, or_equal: bool = False, mostly: float = 1.0, notes: str | None = None
) -> Any:
    kind = "ExpectColumnPairValuesAToBeGreaterThanB"
    return _make(kind, notes, column_A=column, column_B=than, or_equal=or_equal, mostly=mostly)
