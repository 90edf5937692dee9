"""Where the seconds of a step go. Read by the observer and the terminal only: nothing timed ever enters an output.

Parts: `data` (waiting for a batch), `forward`, `backward`, `optimizer` (clipping, the move, EMA), `communication` (what
ranks wait for: the collectives of the loop, and of data parallelism what the backward pass could not hide, from the moment
its last gradient is there until every rank's has arrived), `checkpoint`, `score`, and `other`, the loop itself. A part
inside another interrupts it, so the parts add up to the time that went by.

On a GPU these are host seconds, as long as nobody asks for more: launching takes little, and what the device has still to
do is waited for where its figures are read, under `wait`. With events (`fast: true`) forward, backward, communication and
optimizer are the device's own seconds; events are read when figures were waited for anyway, so they cost no synchronisation.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

ON_DEVICE = {"forward", "backward", "communication", "optimizer"}
BESIDE_STEPS = {"checkpoint", "score"}  # not part of a step's own time, from which rates are computed


class Clock:
    """Seconds by part since the last `read`. `event` records a moment on the device (torch.cuda.Event), None: host only."""

    def __init__(self, event: Callable[[], Any] | None = None) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.event = event
        self.spans: list[tuple[str, Any, Any]] = []  # part, its first and last moment on the device
        self.open: list[str] = []
        self.started = self.since = time.perf_counter()
        self.mark: Any = None
        self.steps = 0

    def restart(self) -> None:
        """Steps begin now; what went before (building, resuming) belongs to none of them."""
        self.started = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._charge()
        self.open.append(name)
        try:
            yield
        finally:
            self._charge()
            self.open.pop()

    def turn_to(self, name: str) -> None:
        """The innermost part ends now, and what is left of its block counts as `name`."""
        self._charge()
        self.open[-1] = name

    def _charge(self) -> None:
        """Give the time since the last change to the part it was spent in."""
        now, mark = time.perf_counter(), self.event() if self.event is not None else None
        if self.open:
            name = self.open[-1]
            if mark is not None and name in ON_DEVICE:
                self.spans.append((name, self.mark, mark))
            else:
                self.seconds[name] += now - self.since
        self.since, self.mark = now, mark

    def read(self) -> tuple[dict[str, float], float]:
        """Seconds per step by part, and those of a step alone (without scoring and checkpoints); starts over.

        With events, everything they mark must have been waited for.
        """
        now = time.perf_counter()
        for name, first, last in self.spans:
            self.seconds[name] += first.elapsed_time(last) / 1000
        elapsed, steps = max(now - self.started, 1e-9), max(self.steps, 1)
        self.seconds["other"] = max(elapsed - sum(self.seconds.values()), 0.0)
        parts = {f"seconds_{name}": total / steps for name, total in sorted(self.seconds.items())}
        alone = elapsed - sum(self.seconds.get(name, 0.0) for name in BESIDE_STEPS)
        self.seconds.clear()
        self.spans.clear()
        self.started, self.steps = now, 0
        return parts, max(alone, 1e-9) / steps


def clock_for(device: torch.device, *, events: bool) -> Clock:
    return Clock(_event if events and device.type == "cuda" else None)


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def timed_backward(loss: Tensor, clock: Clock, *, ranks: int) -> None:
    """`loss.backward()`, told apart: computing gradients, and waiting for those of other ranks.

    The autograd engine runs final callbacks in the order in which they were queued. Ours is queued when the backward pass
    begins, data parallelism's own (which waits for the gradients on their way) when its last bucket is full.
    """
    with clock.part("backward"):
        if ranks > 1:
            engine = torch.autograd.Variable._execution_engine
            loss.register_hook(lambda _: engine.queue_callback(lambda: clock.turn_to("communication")))
        loss.backward()
