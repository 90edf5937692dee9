"""The rejection generator: which rule a request, or an answer, breaks, and what could be asked instead (rejection.yaml)."""

from __future__ import annotations

import pkgutil
from functools import cache
from typing import Any

from components.engines.base.params import parse_yaml


def rejection(category: str, *, of_answer: bool = False) -> str:
    """The words for whoever asked. Categories without words of their own get those of `other`."""
    rules = _written()
    rule = rules["categories"].get(category, rules["other"])
    opening = rules["answer" if of_answer else "request"]
    return f"{opening} {rule['rule']} {rule['instead']}"


@cache
def _written() -> dict[str, Any]:
    """Read by the loader of this package: in a registered model that one refuses files that were altered."""
    data = pkgutil.get_data(__package__, "rejection.yaml")
    assert data is not None
    return parse_yaml(data)
