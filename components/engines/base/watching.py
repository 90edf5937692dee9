"""What only watches: progress, meters, tracking, profiles. It is declared as such and is no part of a stage's key.

    @watching()                       # nothing stands in for it
    class Profiler: …

    @watching(instead=Unmetered)      # this does, where what is watched must still be done
    class Meter: …

An edit of what is declared reruns no stage, so nothing that it returns may reach an output. That is proven: under
`GENWORKS_WATCH=off` every declared function or class is replaced by its stand-in when its module is imported, and every stage
must write the same bytes (tests/base/test_watching.py; the whole profile: `python -m benchmarks.unwatched`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

SWITCH = "GENWORKS_WATCH"

T = TypeVar("T", bound=Callable[..., Any])


class Nothing:
    """Takes every call, is its own attributes and its own context, holds no items, is false."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Nothing:
        return self

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):  # what pickle and copy ask for: not being there is an answer
            raise AttributeError(name)
        return self

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Any:
        return iter(())

    def __bool__(self) -> bool:
        return False


def watching(instead: Any = Nothing) -> Callable[[T], T]:
    """Declare a function or class as watching; `instead` is called in its place where watchers are off."""
    return lambda watcher: instead if os.environ.get(SWITCH) == "off" else watcher
