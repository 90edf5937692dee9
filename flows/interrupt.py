"""Ctrl-C and SIGTERM: what a command started ends before the command does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flows.child import Children

INTERRUPTED = 130


class Stop:
    """Whether a stop was asked for. A second request ends the process at once (its children die with it)."""

    def __init__(self, children: Children) -> None:
        self.children, self.asked = children, threading.Event()

    def __call__(self, *_: object) -> None:
        if self.asked.is_set():
            os._exit(INTERRUPTED)
        self.asked.set()
        print("stopping: stages save what they have; a second request ends them at once", file=sys.stderr)
        threading.Thread(target=self.children.stop_all).start()  # it waits, which a signal handler must not


@contextmanager
def stopping(children: Children) -> Iterator[Stop]:
    """Inside the block both signals stop the children; afterwards a request comes out as KeyboardInterrupt."""
    stop = Stop(children)
    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except Exception:
        if not stop.asked.is_set():
            raise
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if stop.asked.is_set():
        raise KeyboardInterrupt
