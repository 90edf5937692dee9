"""A page at a time in a process of its own, which is ended when it takes too much time or memory.

What a page of unknown origin makes native code do, nobody knows: the process that reads it may be lost, its document is not.
"""

from __future__ import annotations

import multiprocessing
import time
import weakref
from collections.abc import Callable
from typing import Any

import psutil

from components.engines.base.errors import BadRecord, Transient
from components.engines.base.params import Params

_PAUSE_S = 0.02
_WALL_FACTOR = 20  # of the CPU time: what waits for ever uses none
_START_S = 600


class PageCaps(Params):
    """What reading one page may take: processor time, and memory of the process (models included)."""

    seconds: float = 120
    megabytes: float = 3_000


class Guarded:
    """`read(*arguments)` answered by a child process that `make()` builds its reader in. Not for several threads at once.

    `peak_mb` is the most memory that a child was seen to hold. Raises BadRecord: `page took too long`, `page took too much
    memory`, `page ended its reader`, `page cannot be read` (whatever else the reader met), and those that the reader raises.
    """

    def __init__(self, make: Callable[[], Callable[..., Any]], caps: PageCaps) -> None:
        self.make, self.caps, self.peak_mb = make, caps, 0.0
        self._child: Any = None
        self._pipe: Any = None
        self._end: Callable[[], Any] = _nothing

    def __call__(self, *arguments: Any) -> Any:
        if self._child is None or not self._child.is_alive():
            self._start()
        self._pipe.send(arguments)
        verdict = self._watch()
        if verdict is not None:
            self.close()
            raise verdict
        try:
            kind, answer = self._pipe.recv()
        except (EOFError, OSError):
            self.close()
            raise BadRecord("page ended its reader", "the process that read it is gone") from None
        if kind == "bad":
            raise BadRecord(*answer)
        return answer

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")  # a forked child would hold locks of this process's threads
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs, self.make), daemon=True)
        self._child.start()
        theirs.close()
        # What is told when this object is collected keeps the pipe: a pipe that is collected first closes its descriptor, and a
        # second close would then hit whatever was opened under that number meanwhile.
        self._end = weakref.finalize(self, _ended, self._child, self._pipe)
        try:
            started = self._pipe.poll(_START_S) and self._pipe.recv() == "ready"
        except (EOFError, OSError):
            started = False
        if not started:
            self._child.join(_PAUSE_S)
            code = self._child.exitcode
            self.close()
            raise Transient(
                f"The process that reads pages did not start ({'no answer' if code is None else f'exit code {code}'})",
                do="read above what it wrote; -9 is a lack of memory, -11 and -4 a crash in native code. Run again",
            )

    def _watch(self) -> BadRecord | None:
        """Wait for the answer; why the page is given up, if it is."""
        process = psutil.Process(self._child.pid)
        begun, used = time.monotonic(), sum(process.cpu_times()[:2])
        while not self._pipe.poll(_PAUSE_S):
            try:
                megabytes, seconds = process.memory_info().rss / 1e6, sum(process.cpu_times()[:2]) - used
            except psutil.Error:
                return None  # it has ended; the pipe says so
            self.peak_mb = max(self.peak_mb, megabytes)
            if megabytes > self.caps.megabytes:
                return BadRecord("page took too much memory", f"more than {self.caps.megabytes:g} MB")
            if seconds > self.caps.seconds or time.monotonic() - begun > _WALL_FACTOR * self.caps.seconds:
                return BadRecord("page took too long", f"more than {self.caps.seconds:g} s of a processor")
        return None

    def close(self) -> None:
        """End the child; the next call starts another."""
        self._end()
        self._child = self._pipe = None


def _nothing() -> None:
    pass


def _ended(child: Any, pipe: Any) -> None:
    child.kill()
    child.join()
    pipe.close()


def _serve(pipe: Any, make: Callable[[], Callable[..., Any]]) -> None:
    read = make()
    pipe.send("ready")
    while True:
        try:
            arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = ("done", read(*arguments))
        except BadRecord as bad:
            answer = ("bad", (bad.reason, bad.detail))
        except Exception as error:
            answer = ("bad", ("page cannot be read", f"{type(error).__name__}: {error}"))
        pipe.send(answer)
