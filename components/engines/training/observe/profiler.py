"""A profiler trace of a few steps, on request: `profile: {first_step: 20, steps: 5}` writes `<work>/trace/…json.gz`.

Open it in https://ui.perfetto.dev or chrome://tracing. Each rank writes its own; the first rank's also goes to the observer where
that keeps files (an MLflow artifact), since the work folder is gone when the stage is done. A trace slows its steps down and
changes nothing that is learnt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from components.engines.base.errors import Stopped, explain_os_error
from components.engines.base.watching import watching
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Profile

log = logging.getLogger("genworks")


@runtime_checkable
class FileKeeper(Protocol):
    """An observer that also keeps files."""

    def log_file(self, path: Path) -> None: ...


@watching()
class Profiler:
    """Traces the steps that are asked for, by their numbers in the whole run. A context manager around the loop.

    `settle` waits for what ranks send each other in the background. A message that arrives after the trace has ended
    writes its end into the trace's freed memory (torch, ProcessGroupGloo), and the process dies of it some time later.
    """

    def __init__(
        self, asked: Profile | None, work: Path, ranks: Ranks, observer: object, settle: Callable[[], object]
    ) -> None:
        self.asked, self.folder, self.ranks, self.observer = asked, work / "trace", ranks, observer
        self.settle = settle
        self.running: Any = None
        self.begin = self.next = 0  # the first step of the trace, and the one after its last

    def at(self, step: int) -> None:
        """Called before each step (counted from 0) is taken."""
        if self.asked is None:
            return
        self.next = step
        due = self.asked.first_step <= step < self.asked.first_step + self.asked.steps
        if due and self.running is None:
            self._start(step)
        elif not due and self.running is not None:
            self._stop()

    def _start(self, step: int) -> None:
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU]
        if self.ranks.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self.running, self.begin = profile(activities=activities), step
        self.running.__enter__()

    def _stop(self) -> None:
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize(self.ranks.device)  # what these steps launched belongs to them
        profile, self.running = self.running, None
        self.settle()
        profile.__exit__(None, None, None)
        path = self.folder / f"rank-{self.ranks.rank}-steps-{self.begin}-{self.next - 1}.json.gz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            profile.export_chrome_trace(str(path))
        except OSError as error:
            raise explain_os_error(error) from error
        log.info("Profiler trace of steps %d to %d: %s", self.begin, self.next - 1, path)
        if self.ranks.is_first and isinstance(self.observer, FileKeeper):
            self.observer.log_file(path)

    def __enter__(self) -> Profiler:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The last step ends a trace too, and so does a stop in order; a failure leaves none."""
        if self.running is None:
            return
        if kind is None or issubclass(kind, Stopped):
            self.next += 1
            self._stop()
        else:
            self.running.__exit__(None, None, None)
