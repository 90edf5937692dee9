"""Progress of long work: a bar on a terminal, a log line every few seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from components.engines.base.watching import watching

log = logging.getLogger("genworks")


@watching()
class Progress:
    """Counts `total` units of work; `advance` may carry figures to show. Use as a context manager."""

    def __init__(self, what: str, total: int, *, initial: int = 0, unit: str = "", every_seconds: float = 10.0) -> None:
        self.what, self.total, self.done, self.unit = what, total, initial, unit
        self.every_seconds, self.started, self.initial = every_seconds, time.monotonic(), initial
        self.last_line = self.started
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.total, initial=self.initial, desc=self.what, unit=self.unit or "it")
        return self

    def advance(self, count: int = 1, **figures: Any) -> None:
        self.done += count
        if self.bar is not None:
            if figures:
                self.bar.set_postfix(figures, refresh=False)
            self.bar.update(count)
            return
        now = time.monotonic()
        if now - self.last_line >= self.every_seconds:
            self.last_line = now
            self._line(now, figures)

    def _line(self, now: float, figures: dict[str, Any]) -> None:
        rate = (self.done - self.initial) / max(now - self.started, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        shown = " ".join(f"{name}={value}" for name, value in figures.items())
        log.info(
            "%s: %d/%d %s (%.1f/s, %.0f s left) %s", self.what, self.done, self.total, self.unit, rate, left, shown
        )

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
