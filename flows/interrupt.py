"""Ctrl-C and SIGTERM: what a command started ends before the command does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flows.child import Children

INTERRUPTED, TERMINATED = 130, 143
TERMINATED_GRACE_SECONDS = 8.0  # who sends SIGTERM insists after ten seconds (docker) or thirty (Kubernetes)


class Terminated(KeyboardInterrupt):
    """The stop was asked for by SIGTERM."""


class Stop:
    """Whether a stop was asked for. A second request ends the process at once (its children die with it)."""

    def __init__(self, children: Children) -> None:
        self.children, self.asked = children, threading.Event()
        self.sign: int | None = None

    def __call__(self, sign: int, *_: object) -> None:
        if self.asked.is_set():
            os._exit(INTERRUPTED if sign == signal.SIGINT else TERMINATED)
        self.sign = sign
        self.asked.set()
        print("stopping: stages save what they have; a second request ends them at once", file=sys.stderr)
        grace = TERMINATED_GRACE_SECONDS if sign == signal.SIGTERM else None
        # in a thread, since it waits, which a signal handler must not
        threading.Thread(target=self.children.stop_all, args=(grace,)).start()


@contextmanager
def stopping(children: Children) -> Iterator[Stop]:
    """Inside the block both signals stop the children; afterwards a request comes out as KeyboardInterrupt or Terminated."""
    stop = Stop(children)
    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except BaseException:  # Prefect has an exception of its own for SIGTERM
        if not stop.asked.is_set():
            raise
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if stop.asked.is_set():
        raise Terminated if stop.sign == signal.SIGTERM else KeyboardInterrupt
