"""A stage that is only tried: it trains a few steps, tells what they took, and stops without writing any output.

`genworks estimate` runs stages like this (`--probe FILE --outputs SCRATCH`). The stage runner says so here; the engine that
trains looks here, writes FILE and raises `Probed`. A room has nothing to do for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_file: ContextVar[Path | None] = ContextVar("probe", default=None)


class Probed(Exception):
    """The stage trained as much as was wanted. No failure: the runner ends it, with exit code 0 and no outputs."""


@contextmanager
def probing(file: Path) -> Iterator[None]:
    """Inside the block a training is cut short, and its figures are written to `file`."""
    token = _file.set(file)
    try:
        yield
    finally:
        _file.reset(token)


def probe_file() -> Path | None:
    """Where the figures are wanted; None in an ordinary run."""
    return _file.get()
