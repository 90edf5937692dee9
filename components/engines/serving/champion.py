"""A system's champion, answering: started, watched, replaced when the registry says so.

Requests that a process leaves unanswered, because it died, go to the next one. While another version loads, the one before it
answers; then it answers what it was asked and ends. A version that is no champion any more answers nobody, also where its
successor cannot be loaded: a rollback holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import GenworksError, StageError
from components.engines.serving.process import Facts, ModelProcess, ProcessGone
from components.engines.tracking.standing import champion_now
from components.engines.tracking.store import Store

log = logging.getLogger("genworks")

POLL_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0  # between tries to load what cannot be loaded


class Busy(StageError):
    """As many requests wait as may."""


class Unavailable(StageError):
    """There is no champion that could answer."""


class TooSlow(StageError):
    """The answer was not there in time."""


@dataclass(frozen=True)
class Limits:
    """`waiting`: requests at once, those in work included. `seconds`: of an answer, or between two pieces of a stream."""

    waiting: int = 32
    seconds: float = 60.0


class Champion:
    """`run` watches the registry until it is cancelled; `answer` and `stream` ask the version that is champion now."""

    def __init__(self, store: Store, system: str, folder: Path, limits: Limits) -> None:
        self.store, self.system, self.folder, self.limits = store, system, folder, limits
        self.process: ModelProcess | None = None
        self.problem: str | None = "it is loading"
        self.waiting = 0
        self._which: dict[str, Any] | None = None  # version and digest of `process`
        self._changed = asyncio.Condition()
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        pause = POLL_SECONDS
        try:
            while True:
                try:
                    await self._follow()
                    pause = POLL_SECONDS
                except GenworksError as error:
                    if self.problem != error.what:
                        log.error("%s: %s", self.system, error)
                    self.problem, pause = error.what, min(2 * pause, LONGEST_PAUSE_SECONDS)
                async with self._changed:
                    self._changed.notify_all()
                await self._wait(pause)
        finally:
            self._retire()
            if self._ending:
                await asyncio.wait(self._ending)

    async def _follow(self) -> None:
        """Have the process of the champion that the registry names; one that is as good as dead is replaced."""
        if self.process is not None and self.process.silent_s > 2 * self.limits.seconds:
            log.error("%s has said nothing for %.0f s: it is started anew", self.process.name, self.process.silent_s)
            self.process.kill()
            await self.process.gone.wait()
        if self.process is not None and self.process.gone.is_set():
            log.error("%s ended: it is started anew", self.process.name)
            self._retire()
        wanted = await asyncio.to_thread(champion_now, self.store.root, self.system)
        if wanted is None:
            self._retire()
            raise Unavailable(f"{self.system} has no champion")
        if self.process is None or wanted != self._which:
            try:
                started = await ModelProcess.start(self.store, self.system, wanted["version"], self.folder)
            except StageError:
                self._retire()
                raise
            self._retire()
            self.process, self._which = started, wanted
            log.warning("%s answers", started.name)
        self.problem = None

    def _retire(self) -> None:
        """Ask the process nothing more; it ends when it has answered."""
        if self.process is not None:
            task = asyncio.create_task(self.process.end(2 * self.limits.seconds))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self.process = self._which = None

    async def _wait(self, seconds: float) -> None:
        """Until it is time to look again, or the process dies."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (asyncio.Event() if self.process is None else self.process.gone).wait()

    async def answer(self, inputs: list[dict[str, Any]], options: dict[str, Any]) -> tuple[Facts, list[dict[str, Any]]]:
        """The facts of the version that answered, and an answer an input.

        Raises UsageError for options that the model does not have, Busy, Unavailable, TooSlow, and StageError where it fails.
        """
        async with self._taken(), self._in_time():
            try:
                process = await self._ready()
                return process.facts, await process.answer(inputs, options)
            except ProcessGone:
                process = await self._ready()
                return process.facts, await process.answer(inputs, options)
        raise AssertionError("unreachable")

    async def stream(
        self, one: dict[str, Any], options: dict[str, Any]
    ) -> AsyncGenerator[tuple[Facts, dict[str, Any]]]:
        """The version's facts with each piece, and with the whole answer at the end. Raises what `answer` does; it ends with its
        process."""
        async with self._taken():
            async with self._in_time():
                process = await self._ready()
            async with contextlib.aclosing(process.stream(one, options)) as pieces:
                while True:
                    async with self._in_time():
                        said = await anext(pieces, None)
                    if said is None:
                        return
                    yield process.facts, said

    @contextlib.asynccontextmanager
    async def _taken(self) -> AsyncGenerator[None]:
        if self.waiting >= self.limits.waiting:
            raise Busy(f"{self.waiting} requests to {self.system} wait already", do="try again in a second")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self.limits.seconds):
                yield
        except TimeoutError:
            what = f"{self.system} did not answer within {self.limits.seconds:g} s"
            raise TooSlow(what, do="ask for less at once, or try again") from None

    async def ready(self) -> ModelProcess:
        """The champion's process, waited for where it is loading. Raises Unavailable and TooSlow."""
        async with self._in_time():
            return await self._ready()

    async def _ready(self) -> ModelProcess:
        async with self._changed:
            while True:
                if self.process is not None and not self.process.gone.is_set():
                    return self.process
                if self.process is None and self.problem not in (None, "it is loading"):
                    raise Unavailable(str(self.problem), do="try again later")
                await self._changed.wait()
