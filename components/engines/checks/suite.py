"""Check rows against a suite of expectations: a report whatever comes out, and a stop when one fails."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import StageError
from components.engines.base.paths import atomic_write, write_json
from components.engines.checks.gx import load_gx, open_context
from components.engines.checks.page import render_page

if TYPE_CHECKING:
    import pandas

SHOWN_ROWS = 5
# Settings of an expectation that say nothing about what it demands, or differ from run to run.
_SILENT = ("batch_id", "column", "column_list", "column_A", "column_B", "column_set")


@dataclass(frozen=True)
class Summary:
    """What a suite found: how many expectations were held, and how many of them the rows met."""

    name: str
    rows: int
    evaluated: int
    successful: int


def check(
    rows: pandas.DataFrame, expectations: list[Any], *, name: str, html: Path, result: Path | None = None
) -> Summary:
    """Hold `rows` against `expectations` (made by checks/expect.py); write the Data Docs page, and the result as JSON.

    Both files are functions of the rows and the suite alone, and are written also when an expectation fails. Then StageError
    names each failed expectation, its column, what was observed and up to 5 of the rows.
    """
    if not len(rows):
        raise StageError(f"Checks {name} have no rows to look at", where=str(html.name), do="look at the stages before")
    rows = rows.reset_index(drop=True)
    validation = _validate(rows, expectations, name)
    with atomic_write(html) as partial:
        partial.write_text(render_page(validation), encoding="utf-8")
    if result is not None:
        write_json(result, _plain(validation, len(rows)))
    failed = [one for one in validation["results"] if not one["success"]]
    if failed:
        raise StageError(
            f"Checks {name} failed, {len(failed)} of {len(validation['results'])}:\n"
            + "\n".join(f"- {_describe(one, rows)}" for one in failed),
            where=html.name,
            do="look at the report, then at the data or at the bounds in the room's validate.py",
        )
    return Summary(name, len(rows), len(validation["results"]), len(validation["results"]))


def _validate(rows: pandas.DataFrame, expectations: list[Any], name: str) -> dict[str, Any]:
    """Great Expectations' result as JSON values, without times, ids, paths and traces, in a fixed order."""
    asset = open_context().data_sources.add_pandas(name).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe(name).get_batch({"dataframe": rows})
    suite = load_gx().ExpectationSuite(name=name, expectations=expectations)
    validation = _jsonable(batch.validate(suite, result_format={"result_format": "SUMMARY"}).to_json_dict())
    validation["results"] = sorted(map(_cleaned, validation["results"]), key=_order)
    validation["meta"] = {}
    validation["id"] = None
    return validation


def _jsonable(value: Any) -> Any:
    """Plain JSON: NaN and infinities become null (a mean over nothing is no number)."""
    text = json.dumps(value, default=str)
    return json.loads(text, parse_constant=lambda _: None)


def _cleaned(one: dict[str, Any]) -> dict[str, Any]:
    config = one["expectation_config"]
    config["kwargs"].pop("batch_id", None)
    config.pop("id", None)
    message = _exception_of(one["exception_info"])
    if message:
        one["exception_info"] = {"raised_exception": True, "exception_message": message, "exception_traceback": ""}
    found = one["result"]
    if "partial_missing_list" in found:
        # A set of distinct values has counts of values, which the page's renderer would take for counts of rows.
        shown = {"unexpected": found["partial_unexpected_list"], "missing": found["partial_missing_list"]}
        one["result"] = {"observed_value": {kind: sorted(map(str, values)) for kind, values in shown.items()}}
    return one


def _exception_of(info: dict[str, Any]) -> str:
    """The message of an expectation that could not be computed; Great Expectations nests it under random ids."""
    nested = [item for item in info.values() if isinstance(item, dict)]
    messages = sorted(
        {str(item.get("exception_message")) for item in nested or [info] if item.get("exception_message")}
    )
    return "; ".join(messages)


def _order(one: dict[str, Any]) -> str:
    config = one["expectation_config"]
    return f"{config['kwargs'].get('column', '')}\0{config['type']}\0{json.dumps(config['kwargs'], sort_keys=True)}"


def _plain(validation: dict[str, Any], num_rows: int) -> dict[str, Any]:
    return {
        "name": validation["suite_name"],
        "success": validation["success"],
        "rows": num_rows,
        "expectations": [
            {
                "expectation": one["expectation_config"]["type"],
                "settings": one["expectation_config"]["kwargs"],
                "success": one["success"],
                "error": _exception_of(one["exception_info"]) or None,
                **{
                    key: one["result"].get(key)
                    for key in ("observed_value", "unexpected_count", "unexpected_percent", "partial_unexpected_list")
                },
            }
            for one in validation["results"]
        ],
    }


def _describe(one: dict[str, Any], rows: pandas.DataFrame) -> str:
    """One failed expectation in words: what was demanded of which column, what was found, which rows."""
    config, found = one["expectation_config"], one["result"]
    settings = config["kwargs"]
    columns = _columns(settings)
    demanded = ", ".join(f"{key}={value!r}" for key, value in settings.items() if key not in _SILENT)
    text = config["type"] + (f" of {', '.join(columns)}" if columns else "") + (f" ({demanded})" if demanded else "")
    error = _exception_of(one["exception_info"])
    if error:
        return f"{text}: could not be computed: {error} (columns found: {', '.join(map(str, rows.columns))})"
    if "element_count" in found and "observed_value" not in found:
        share = found.get("unexpected_percent") or 0.0
        text += f": {found['unexpected_count']} of {found['element_count']} rows ({share:.3g} %) do not comply"
    else:
        text += f": observed {_short(found.get('observed_value'))}"
    return text + _shown_rows(found.get("partial_unexpected_index_list") or [], columns, rows)


def _columns(settings: dict[str, Any]) -> list[str]:
    listed = settings.get("column_list") or settings.get("column_set") or []
    return [settings[key] for key in ("column", "column_A", "column_B") if key in settings] + list(listed)


def _shown_rows(positions: list[int], columns: list[str], rows: pandas.DataFrame) -> str:
    """Up to five rows, the checked columns first."""
    order = [*dict.fromkeys(columns), *(column for column in rows.columns if column not in columns)]
    lines = []
    for position in positions[:SHOWN_ROWS]:
        cells = rows.loc[position]
        lines.append(f"\n    row {position}: " + ", ".join(f"{column}={_short(cells[column])}" for column in order))
    return "".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:.6g}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
