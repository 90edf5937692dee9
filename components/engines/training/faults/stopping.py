"""Ends a run early and in order: told to by a signal or a file, or because its budget is spent.

The run finishes its step, saves it and raises `Stopped`; the next run goes on from there, bit for bit. All ranks must
stop at the same step, though a signal may reach one of them alone, and at any moment. So each says after every step
whether it was told, and all take the answer of the step before: sent over the CPU while the next step runs, it makes
no GPU wait and costs a step some 0.1 ms.

A second request, SECONDS_BETWEEN_REQUESTS after the first or later, ends the process at once, as does what a scheduler
sends next (SIGKILL): nothing saved is lost, only the steps since.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from components.engines.base.errors import Stopped
from components.engines.base.paths import remove
from components.engines.training.faults.budget import Spending
from components.engines.training.faults.hanging import close_group, cpu_group
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

log = logging.getLogger("genworks")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_FILE = "stop"  # in the work folder: how a launcher reaches workers whose signals are not ours to take
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_REQUESTS = 2.0  # Ctrl-C reaches torchrun and its workers, and torchrun then tells the workers again

GOES_ON, TOLD, SPENT = 0, 1, 2


class Stopper:
    """Knows whether this rank was told to stop, and what the ranks agreed on."""

    def __init__(self, training: Training, work: Path, ranks: Ranks, spending: Spending) -> None:
        self.training, self.work, self.ranks, self.spending = training, work, ranks, spending
        self.told, self.looked = False, 0.0
        self.group: dist.ProcessGroup | None = None
        self.sent: tuple[Tensor, dist.Work] | None = None

    def tell(self) -> None:
        self.told = True  # no lock, no event: a signal may come while one is held

    def due(self, step: int) -> Stopped | None:
        """What to raise once step number `step` is saved, the same on every rank; None: go on. Call it once a step."""
        cause = self._own_cause()
        if self.group is not None:
            cause = self._agreed(cause)
        if cause == GOES_ON:
            return None
        if cause == SPENT:
            return self.spending.stopped(f"Training stopped after step {step}, which is saved")
        return Stopped(
            f"Training stopped after step {step}, as it was told to; the step is saved",
            where=str(self.work),
            do="run again: it goes on from there",
        )

    def _own_cause(self) -> int:
        if self.ranks.is_first:
            self._look()
        if self.told:
            return TOLD
        return SPENT if self.ranks.is_first and self.spending.is_over() else GOES_ON

    def _look(self) -> None:
        now = time.monotonic()
        if now - self.looked >= SECONDS_BETWEEN_LOOKS:
            self.looked = now
            self.spending.note()
            if (self.work / STOP_FILE).exists():
                self.tell()

    def _agreed(self, cause: int) -> int:
        """The gravest cause of any rank when the step before ended; this step's travels meanwhile."""
        box = torch.tensor([cause], dtype=torch.int32)
        before, self.sent = self.sent, (box, dist.all_reduce(box, dist.ReduceOp.MAX, self.group, async_op=True))
        if before is None:
            return GOES_ON
        answer, journey = before
        journey.wait()
        return int(answer)

    def settle(self) -> None:
        """Let the last answer arrive: before the connection is closed on another rank's, or a trace on this one's end."""
        if self.sent is not None:
            self.sent[1].wait()


@contextmanager
def stopping(training: Training, work: Path, ranks: Ranks) -> Iterator[Stopper]:
    """Inside the block signals are heard (in the main thread, the only one they reach); all ranks enter it together."""
    spending = Spending(training.budget, work)
    stopper = Stopper(training, work, ranks, spending)
    if ranks.broadcast(spending.is_over()):
        raise spending.stopped("Training was not started")
    with heard(stopper.tell):
        if ranks.world > 1:
            stopper.group = cpu_group(training, ranks)
        try:
            yield stopper
            stopper.settle()
        except Stopped:
            stopper.settle()
            if ranks.is_first:
                remove(work / STOP_FILE)  # obeyed: the next run must not stop at it again
            raise
        finally:
            if ranks.is_first:
                spending.note(at_once=True)
            if stopper.group is not None:
                close_group(stopper.group)


@contextmanager
def heard(tell: Callable[[], object]) -> Iterator[None]:
    """SIGINT and SIGTERM call `tell` inside the block, the second one has its usual effect; afterwards all is as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {sign: signal.getsignal(sign) for sign in SIGNALS}
    first: list[float] = []

    def hear(number: int, _frame: object) -> None:
        if not first:
            first.append(time.monotonic())
            tell()
        elif time.monotonic() - first[0] >= SECONDS_BETWEEN_REQUESTS:
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)
            signal.raise_signal(number)

    for sign in SIGNALS:
        signal.signal(sign, hear)
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler or signal.SIG_DFL)  # None: set by no Python, cannot be put back


def call_forwarding(function: Callable[[], None], work: Path) -> None:
    """Call `function` in a thread while signals that come here become the stop file of `work`.

    For a launcher whose workers run elsewhere, and whose library would take the signals of the main thread for itself.
    """
    if threading.current_thread() is not threading.main_thread():
        function()
        return
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:  # raised again in the main thread
            errors.append(error)

    request = work / STOP_FILE
    thread = threading.Thread(target=call, name="launch", daemon=True)
    said = False
    with heard(request.touch):
        thread.start()
        while thread.is_alive():
            thread.join(timeout=SECONDS_BETWEEN_LOOKS)  # a signal is handled between two waits
            if not said and request.exists():
                said = True
                log.info("Told to stop: the workers save their step first; a second request ends them at once")
    if errors:
        raise errors[0]


def forget_requests(work: Path) -> None:
    """Before a launch: a request that came too late for the run before is not one to this."""
    remove(work / STOP_FILE)
