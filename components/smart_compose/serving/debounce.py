"""How long to wait after a keystroke before asking: as the typist types, and as answers come."""

from __future__ import annotations

from components.smart_compose.architecture import Debounce

_NEW = 0.2  # share of the newest value in a typical one


class Pace:
    """A typist's interval between keys and the time that answers take, both as exponential means.

    While answers come within an interval, a client waits as long as an answer takes: one that types on makes at most every second
    call in vain. Where answers take longer they would come too late for the next key anyway: it waits for a pause, one interval.
    """

    def __init__(self, params: Debounce) -> None:
        self.params = params
        self.interval_ms: float | None = None
        self.response_ms: float | None = None

    def pressed(self, elapsed_ms: float) -> None:
        self.interval_ms = _mean(self.interval_ms, min(elapsed_ms, 5 * self.params.max_ms))  # longer is a pause

    def answered(self, response_ms: float) -> None:
        self.response_ms = _mean(self.response_ms, response_ms)

    @property
    def wait_ms(self) -> float:
        wait = min(self.response_ms or 0.0, self.interval_ms or 0.0)
        return min(max(wait, self.params.min_ms), self.params.max_ms)


def _mean(before: float | None, value: float) -> float:
    return value if before is None else (1 - _NEW) * before + _NEW * value
