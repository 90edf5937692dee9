"""text_to_image side by side with its peers: the relevance filter, training on cached latents, painting."""

from __future__ import annotations

from typing import Any

from benchmarks import filtering, painting, proportions


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """Every comparison: name, `ours` and `theirs` (medians, per second), `ratio` with its `range`, and the `bar` to reach."""
    return [*filtering.run(repeats), *painting.run(repeats), *proportions.run()]
