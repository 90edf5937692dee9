"""A registered version in a process of its own, which runs the code it was registered with (engines/tracking/answers.py)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.tracking import answers as program
from components.engines.tracking.store import Store

LOAD_SECONDS = 600.0
GOODBYE_SECONDS = 5.0  # from the last word to the end
LINE_BYTES = 2**28  # an answer of pictures is a long line


class ProcessGone(StageError):
    """The process ended with requests unanswered."""


@dataclass(frozen=True)
class Facts:
    """What a loaded version says of itself: its input and answer fields with MLflow's types, its options, whether it streams."""

    version: int
    fields: dict[str, str]
    gives: dict[str, str]
    options: list[str]
    streams: bool


class ModelProcess:
    """`answer` and `stream` may be called at once, by many; the process puts them in order."""

    def __init__(
        self, process: asyncio.subprocess.Process, name: str, facts: Facts, listening: asyncio.Task[None]
    ) -> None:
        self.name, self.facts, self._process, self._listening = name, facts, process, listening
        self._asked: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        self._numbers = itertools.count()
        self._heard = time.monotonic()
        self.gone = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, store: Store, system: str, version: int, folder: Path) -> ModelProcess:
        """Load a version; `folder` is for what it fetches. Raises StageError, with the reason, for one that cannot be loaded."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(program.__file__), "--model", f"models:/{system}/{version}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            cwd=folder,
            env=store.environment() | {"TMPDIR": str(folder), "OMP_WAIT_POLICY": "PASSIVE"},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        last: list[str] = []
        listening = asyncio.create_task(_pass_on(process.stderr, last))
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
            last.append(f"it did not load within {LOAD_SECONDS:g} s")
        except BaseException:
            _kill(process)
            raise
        if not line:
            _kill(process)
            await process.wait()
            await listening
            why = next(
                (text.removeprefix("error: ") for text in last if text.startswith("error: ")), (last or ["?"])[-1]
            )
            raise StageError(f"{system} version {version} cannot be loaded: {why}", do="genworks doctor")
        return cls(process, f"{system} version {version}", Facts(**json.loads(line)["ready"]), listening)

    @property
    def waiting(self) -> int:
        """Requests that are not answered yet."""
        return len(self._asked)

    @property
    def silent_s(self) -> float:
        """For how long the process has owed an answer and said nothing."""
        return time.monotonic() - self._heard if self._asked else 0.0

    async def answer(self, inputs: list[dict[str, Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
        """One answer an input. Raises UsageError for options the model does not have, StageError where it fails."""
        async with contextlib.aclosing(self._ask(do="answer", inputs=inputs, options=options)) as said:
            async for message in said:
                return message["answers"]
        raise ProcessGone(f"{self.name} ended with this unanswered")

    async def stream(self, one: dict[str, Any], options: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """`{"piece": …}` as they are made, then `{"answers": [the whole]}`. Closed early, the model stops."""
        async with contextlib.aclosing(self._ask(do="stream", input=one, options=options)) as said:
            async for message in said:
                yield message

    async def _ask(self, **request: Any) -> AsyncGenerator[dict[str, Any]]:
        id = str(next(self._numbers))
        heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        if self.gone.is_set():
            raise ProcessGone(f"{self.name} ended with this unanswered")
        if not self._asked:
            self._heard = time.monotonic()
        self._asked[id] = heard
        done = False
        try:
            self._write({"id": id, **request})
            while not done:
                message = await heard.get()
                if message is None:
                    raise ProcessGone(f"{self.name} ended with this unanswered")
                if "error" in message:
                    done = True
                    raise (UsageError if message["usage"] else StageError)(message["error"])
                done = "answers" in message
                yield message
        finally:
            del self._asked[id]
            if not done:
                self._write({"do": "cancel", "id": id})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # that it ended is told by the reader
            self._process.stdin.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # a line longer than LINE_BYTES
            while line := await self._process.stdout.readline():
                message = json.loads(line)
                self._heard = time.monotonic()
                heard = self._asked.get(message["id"])
                if heard is not None:  # else nobody waits for it any more
                    heard.put_nowait(message)
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        self.gone.set()
        for heard in self._asked.values():
            heard.put_nowait(None)

    async def end(self, silence_s: float) -> None:
        """Return when all that was asked is answered and the process is gone; it is killed after so long a silence."""
        self._write({"do": "end"})
        self._heard = time.monotonic()
        while not self.gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silence_s / 10):
                    await self.gone.wait()
            if time.monotonic() - self._heard > silence_s:
                self.kill()
        await self._listening

    def kill(self) -> None:
        _kill(self._process)


def _kill(process: asyncio.subprocess.Process) -> None:
    """As `process.kill()`, which would also take the exit code away from who waits for it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


async def _pass_on(stream: asyncio.StreamReader, last: list[str]) -> None:
    """What the process complains of goes to our own stderr; the last lines are kept for who could not start it."""
    with contextlib.suppress(ValueError):
        while line := await stream.readline():
            text = line.decode(errors="replace").rstrip()
            print(text, file=sys.stderr, flush=True)
            last[:] = [*last[-20:], text]
