"""Great Expectations, imported late, silent and without its telemetry."""

from __future__ import annotations

import os
from typing import Any


def load_gx() -> Any:
    """The great_expectations module. Takes seconds the first time, so it is never imported at a module's top."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import
    import great_expectations

    return great_expectations


def open_context() -> Any:
    """A context that lives in memory: no project folder, no progress bars, nothing sent."""
    context = load_gx().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    return context
