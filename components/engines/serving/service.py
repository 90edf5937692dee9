"""What the server does, without HTTP: ask champions, record events, take feedback, forget users."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from components.engines.base.errors import GenworksError, UsageError
from components.engines.online.database import DatabaseAway, DatabaseUnusable
from components.engines.online.events import (
    Accepted,
    Answered,
    Dismissed,
    Event,
    Failed,
    Rated,
    Requested,
    Shown,
    event,
    new_id,
)
from components.engines.online.recorder import Recorder
from components.engines.serving.champion import Busy, Champion, TooSlow, Unavailable
from components.engines.serving.process import Facts
from components.engines.text.pii import find_personal, with_placeholders

log = logging.getLogger("genworks")

RECORD_SECONDS = 1.0  # how long an answer waits until its events are on disk
GONE = 499  # the status that is recorded where whoever asked went away
FEEDBACK: dict[str, Any] = {"shown": Shown, "accepted": Accepted, "dismissed": Dismissed, "rated": Rated}

Scrub = Callable[[str], str]


class NotFound(UsageError):
    """There is nothing of that name here."""


@dataclass(frozen=True)
class Asked:
    """A request: to which system, through which endpoint, on whose behalf."""

    system: str
    endpoint: str
    inputs: list[dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    user: str | None = None
    id: str = field(default_factory=lambda: new_id("req"))
    started: float = field(default_factory=time.perf_counter)

    @cached_property
    def ids(self) -> list[str]:
        """Of the answers, one an input: what feedback refers to."""
        return [new_id("ans") for _ in self.inputs]

    @property
    def milliseconds(self) -> float:
        return round(1000 * (time.perf_counter() - self.started), 3)


@dataclass(frozen=True)
class Reply:
    """What a version answered, one an input, and the ids under which feedback refers to the answers."""

    id: str
    system: str
    facts: Facts
    ids: list[str]
    answers: list[dict[str, Any]]


def status_of(error: BaseException) -> int:
    """HTTP's status for a failure."""
    kinds: dict[Any, int] = {NotFound: 404, DatabaseUnusable: 503, DatabaseAway: 503, UsageError: 400}
    kinds |= {Busy: 429, Unavailable: 503, TooSlow: 504}
    found = next((status for kind, status in kinds.items() if isinstance(error, kind)), None)
    return found or (500 if isinstance(error, Exception) else GONE)


class Service:
    """`scrub` takes what identifies people out of a text that is to be kept; without one no texts are kept."""

    def __init__(self, champions: Mapping[str, Champion], recorder: Recorder, scrub: Scrub | None = None) -> None:
        self.champions, self.recorder, self.scrub = champions, recorder, scrub

    def champion(self, system: str) -> Champion:
        if system not in self.champions:
            raise NotFound(f"'{system}' is not served here", do=f"ask {' or '.join(self.champions)}")
        return self.champions[system]

    async def predict(self, asked: Asked) -> Reply:
        """An answer an input. Raises what `status_of` knows."""
        champion = self.champion(asked.system)
        try:
            facts, answers = await champion.answer(asked.inputs, asked.options)
        except BaseException as error:
            self._failed(asked, error)
            raise
        return await self._answered(asked, facts, answers)

    async def stream(self, asked: Asked) -> AsyncGenerator[str | Reply]:
        """Pieces of the answer to the one input, then the reply with the whole."""
        champion = self.champion(asked.system)
        try:
            async with contextlib.aclosing(champion.stream(asked.inputs[0], asked.options)) as said:
                async for facts, message in said:
                    if "piece" in message:
                        yield message["piece"]
                    else:
                        yield await self._answered(asked, facts, message["answers"])
        except BaseException as error:
            self._failed(asked, error)
            raise

    async def feedback(
        self, id: str, what: str, user: str | None, own_id: str | None, details: dict[str, Any]
    ) -> Event:
        """Record what became of an answer. The same feedback again is the same event.

        Raises NotFound for an answer that was not given here, UsageError for details that the kind does not have, DatabaseAway
        where the log cannot be read or written.
        """
        about = await asyncio.to_thread(self.recorder.find, id)
        if about is None or about.type != Answered.type:
            raise NotFound(f"No answer has the id {id!r}", do="give the id that came with the answer")
        kind = FEEDBACK[what]
        known = {"system": about.data["system"], "version": about.data["version"], "answer": id}
        try:
            data = kind(**known, **details)
        except ValueError as error:
            raise UsageError(f"Feedback '{what}' does not go with {details}: {_first(error)}") from None
        mine = own_id or "fb_" + hashlib.sha256(f"{id} {what} {sorted(details.items())}".encode()).hexdigest()[:32]
        made = event(data, id=mine, subject=about.subject or self._subject(user))
        await asyncio.wrap_future(self.recorder.add(made))
        return made

    async def forget(self, user: str) -> int:
        """Remove the events of a user; how many there were. Raises DatabaseAway."""
        return await asyncio.wrap_future(self.recorder.forget(self.recorder.events.database.pseudonym(user)))

    def _subject(self, user: str | None) -> str | None:
        return None if user is None else self.recorder.events.database.pseudonym(user)

    def _requested(self, asked: Asked, facts: Facts | None) -> Event:
        inputs = [readable(one, facts.fields if facts else {}) for one in asked.inputs]
        data = Requested(
            system=asked.system,
            endpoint=asked.endpoint,
            inputs=len(asked.inputs),
            characters=sum(len(text) for text in texts(inputs)),
            texts=self._kept(inputs) if facts else None,
        )
        return event(data, id=asked.id, subject=self._subject(asked.user))

    async def _answered(self, asked: Asked, facts: Facts, answers: list[dict[str, Any]]) -> Reply:
        reply = Reply(asked.id, asked.system, facts, asked.ids, answers)
        milliseconds = asked.milliseconds
        made = await asyncio.to_thread(self._events_of, asked, reply, milliseconds)
        with contextlib.suppress(
            TimeoutError, GenworksError
        ):  # the log is a side channel: it goes on, and says so itself
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self.recorder.add(*made))), RECORD_SECONDS)
        return reply

    def _events_of(self, asked: Asked, reply: Reply, milliseconds: float) -> list[Event]:
        made = [self._requested(asked, reply.facts)]
        for place, (id, answer) in enumerate(zip(reply.ids, reply.answers, strict=True)):
            said = {name: value for name, value in answer.items() if name not in ("id", "refused", "problem")}
            said = readable(said, reply.facts.gives)
            data = Answered(
                system=reply.system,
                version=reply.facts.version,
                request=reply.id,
                place=place,
                milliseconds=milliseconds,
                characters=sum(len(text) for text in texts(said)),
                outcome=next((what for what in ("problem", "refused") if answer.get(what)), "answered"),
                confidence=confidence_of(answer),
                suggestion=own_id_of(answer),
                texts=self._kept(said),
            )
            made.append(event(data, id=id, subject=made[0].subject))
        return made

    def _failed(self, asked: Asked, error: BaseException) -> None:
        if isinstance(error, Busy):  # a flood of requests is no flood of events
            return
        data = Failed(system=asked.system, request=asked.id, status=status_of(error), milliseconds=asked.milliseconds)
        process = self.champions[asked.system].process
        self.recorder.add(
            self._requested(asked, process.facts if process else None), event(data, subject=self._subject(asked.user))
        )

    def _kept(self, value: Any) -> list[str] | None:
        return None if self.scrub is None else [self.scrub(text) for text in texts(value)]


def scrubbed(text: str) -> str:
    """The text with placeholders (`<EMAIL>`) for personal data."""
    return with_placeholders(text, find_personal(text))


def readable(record: dict[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """The record without its pictures and other bytes, which travel as Base64."""
    return {name: value for name, value in record.items() if kinds.get(name) != "binary"}


def texts(value: Any) -> Iterator[str]:
    """Every text in nested inputs or answers, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts(value.values())
    elif isinstance(value, Iterable):
        for one in value:
            yield from texts(one)


def own_id_of(answer: dict[str, Any]) -> str | None:
    """What the pipeline itself calls its answer."""
    value = answer.get("id")
    return value if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() else None


def confidence_of(answer: dict[str, Any]) -> float | None:
    value = answer.get("confidence")
    return float(value) if isinstance(value, int | float) else None


def _first(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{first['loc'][0]}: {first['msg']}"
