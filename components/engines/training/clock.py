"""Where the seconds of a step go. Read by the observer only: nothing timed ever enters an output."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by part since the last `read`. On a GPU these are host seconds: work still queued counts where it is waited for."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.started, self.steps = time.perf_counter(), 0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin

    def read(self, samples_per_step: int) -> dict[str, float]:
        """Seconds a step spends in each part, and samples per second; starts over."""
        now = time.perf_counter()
        elapsed, steps = max(now - self.started, 1e-9), max(self.steps, 1)
        figures = {f"seconds_{name}": total / steps for name, total in sorted(self.seconds.items())}
        figures["samples_per_second"] = self.steps * samples_per_step / elapsed
        self.seconds.clear()
        self.started, self.steps = now, 0
        return figures
