"""Lets rival loops take turns in one process, so that whatever else the machine does slows all of them alike.

Each loop runs in a thread of its own and calls `step()` between two of its steps; only one of them moves at a time.
What is compared are steps that stand next to each other in time, never two runs minutes apart.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

Loop = Callable[[Callable[..., None]], None]  # what a loop is given is Turnstile.step without its name


class Turnstile:
    """Lets one of several loops run at a time, for one step each, and keeps the seconds of their steps."""

    def __init__(self, names: list[str]) -> None:
        self.waiting: list[str] = []
        self.names, self.turn = names, ""
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.cpu_seconds: dict[str, list[float]] = {name: [] for name in names}  # of all threads of the process
        self.begin, self.cpu_begin, self.changed = 0.0, 0.0, threading.Condition()

    def step(self, name: str, hand_over: bool = True) -> None:
        """Called by a loop where a step begins: hand over to the next loop, and wait for the turn to come back."""
        deterministic = torch.are_deterministic_algorithms_enabled()  # a flag of the process: each loop has its own
        with self.changed:
            if self.turn == name:
                self.seconds[name].append(time.perf_counter() - self.begin)
                self.cpu_seconds[name].append(time.process_time() - self.cpu_begin)
                if hand_over:
                    self._pass_on(name)
            else:
                self.waiting.append(name)
                self.changed.notify_all()
                self._start_when_all_wait()
            self.changed.wait_for(lambda: self.turn == name)
        torch.use_deterministic_algorithms(deterministic)
        self.begin, self.cpu_begin = time.perf_counter(), time.process_time()

    def wait_for_arrival(self, name: str) -> None:
        """Until the loop stands before its first step, or has left."""
        with self.changed:
            self.changed.wait_for(lambda: name in self.waiting or name not in self.names)

    def leave(self, name: str) -> None:
        with self.changed:
            if self.turn == name:
                self._pass_on(name)
            self.names = [other for other in self.names if other != name]
            self.changed.notify_all()
            self._start_when_all_wait()

    def _start_when_all_wait(self) -> None:
        if not self.turn and self.names and set(self.waiting) >= set(self.names):
            self._pass_on(self.names[-1])

    def _pass_on(self, name: str) -> None:
        self.turn = self.names[(self.names.index(name) + 1) % len(self.names)]
        self.changed.notify_all()


def take_turns(loops: dict[str, Loop]) -> Turnstile:
    """Run every loop to its end, step by step in turn. Raises what a loop raised."""
    turnstile, errors = Turnstile(list(loops)), []

    def go(name: str) -> None:
        try:
            loops[name](functools.partial(turnstile.step, name))
        except Exception as error:
            errors.append(error)
        finally:
            turnstile.leave(name)

    threads = {name: threading.Thread(target=go, args=(name,), name=name) for name in loops}
    for name, thread in threads.items():  # one sets itself up after another: some share state of the process
        thread.start()
        turnstile.wait_for_arrival(name)
    for thread in threads.values():
        thread.join()
    if errors:
        raise errors[0]
    return turnstile


def every(length: int, first: int, step: Callable[[bool], None]) -> Callable[[], None]:
    """A `step` of turns that begin at call `first` (from 0) and are `length` calls long; each call is timed."""
    calls = itertools.count(-first)

    def on_step() -> None:
        call = next(calls)
        if call >= 0:
            step(call % length == 0)

    return on_step


def typical(seconds: list[float], passes: int) -> float:
    """Seconds of a pass, each of whose steps takes the median of that step over `passes` equal passes.

    A step that has more to do in every pass keeps its price; one that something else on the machine made long does not count.
    """
    return float(np.median(np.reshape(seconds, (passes, -1)), axis=0).sum())


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch's threads, put back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
