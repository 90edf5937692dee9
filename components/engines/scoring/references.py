"""References as metrics get them: one string per example, or a list of alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.engines.base.errors import StageError


def text_features() -> list[Any]:
    """What a text metric takes, in `datasets` terms: one reference per example, or several."""
    import datasets

    text = datasets.Value("string")
    return [
        datasets.Features({"predictions": text, "references": text}),
        datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
    ]


def alternatives(references: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """A list of reference strings per example. Raises StageError for an example without any."""
    listed = [[one] if isinstance(one, str) else list(one) for one in references]
    for position, choices in enumerate(listed):
        if not choices:
            raise StageError(f"Example {position} has no reference to score against")
    return listed


def streams(references: Sequence[str] | Sequence[Sequence[str]]) -> list[list[Any]]:
    """sacrebleu's layout: stream k holds every example's k-th reference, None where an example has fewer."""
    listed = alternatives(references)
    width = max((len(choices) for choices in listed), default=1)
    return [[choices[k] if k < len(choices) else None for choices in listed] for k in range(width)]
