"""What every stage of data checks does with its rows: check, keep the page of a failure, and ask for enough of each split."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json
from components.engines.base.stage import StageContext


def check_stage(
    context: StageContext,
    rows: Any,
    expectations: list[Any],
    *,
    name: str,
    least: Mapping[str, int],
    html: Path,
    result: Path,
) -> None:
    """Check a table of `name` that has a column `split`; `least` says how many rows of each split are needed.

    Raises StageError where an expectation fails (its page is then kept under reports/), or too few rows are left.
    """
    from components.engines.checks.suite import check

    try:
        check(rows, expectations, name=name, html=html, result=result)
    except StageError as failure:  # outputs of a failed stage go, but this page is what the user needs now
        kept = context.root / "reports" / context.system / "failed_checks.html"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(html, kept)
        raise StageError(failure.what, where=str(kept), do=failure.do) from None
    for split, needed in least.items():
        found = int((rows["split"] == split).sum())
        if found < needed:
            raise StageError(
                f"Only {found} {split} rows of {name} are left, {needed} are needed",
                where=f"params.yaml: {context.system}.validate",
                do="give more data, loosen the stage before that drops most (each ends with its counts; for filters, "
                f"genworks whatif {context.system} shows other thresholds), or lower the bound",
            )


def require_passed(checked: Path) -> None:
    """Raises StageError if the checks of this result (JSON) failed."""
    if not read_json(checked)["success"]:
        raise StageError("The data checks failed, so nothing learns from these data", where=str(checked))
