"""The bias filter on labelled suggestions: what it stops that it should, and what it stops that it should not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.params import parse_yaml
from components.smart_compose.serving.bias import biased


def cases() -> list[dict[str, Any]]:
    """`typed`, `suggestion`, `stop`."""
    return parse_yaml((Path(__file__).parent / "bias.yaml").read_text(encoding="utf-8"))["cases"]


def bias_figures() -> dict[str, float]:
    found = [(one["stop"], biased(one["typed"], one["suggestion"]) is not None) for one in cases()]
    stopped = [wanted for wanted, got in found if got]
    return {
        "bias_recall": sum(got for wanted, got in found if wanted) / sum(wanted for wanted, _ in found),
        "bias_precision": sum(stopped) / len(stopped) if stopped else 0.0,
        "bias_cases": len(found),
    }
