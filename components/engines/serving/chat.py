"""Chat in OpenAI's format, whole or streamed, with sessions whose history this server keeps.

A pipeline that chats takes `messages` as its first field. With `session` (and `user`) in the body, `messages` are what is new:
the history comes before them, and the exchange is kept. The header Idempotency-Key names the exchange: asked again, it is
answered from the session if it was answered, and never doubled.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from components.engines.base.errors import GenworksError, UsageError
from components.engines.online.sessions import CUT_SHORT, LONGEST_NAME, Exchange, Sessions
from components.engines.serving.bodies import Body, fingerprint, options_of, sound
from components.engines.serving.conversation import Message, Messages, characters, truncated
from components.engines.serving.limits import error_body
from components.engines.serving.service import Asked, Reply, Service, status_of

FIELD = "messages"
REFUSED = "content_filter"  # OpenAI's word for why an answer ended
MOST_MESSAGES = 400  # of a request
MOST_EXCHANGES = 200  # of a session that are read for an answer
MOST_CHARACTERS = 50_000  # of them, beside the question; the pipeline cuts further where its positions end


class ChatBody(Body):
    """OpenAI's chat completion; further keys are options of the pipeline."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool = False
    session: str | None = Field(None, min_length=1, max_length=LONGEST_NAME)

    @model_validator(mode="after")
    def _consistent(self) -> ChatBody:
        sound(self.model_extra or {})
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's, which is to be answered")
        if self.session is not None and self.user is None:
            raise ValueError("a session belongs to a user: give `user` too")
        if self.session is not None and any(one.role == "assistant" for one in self.messages):
            raise ValueError("with a session give the new messages alone: it holds the answers")
        return self


@dataclass(frozen=True)
class Session:
    """An exchange in a user's session that waits for its answer, or has it."""

    user: str
    name: str
    exchange: Exchange


class Chats:
    """Asks the service, and keeps sessions."""

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self.service, self.sessions = service, sessions

    async def begin(self, body: ChatBody, request_id: str, key: str | None) -> tuple[Asked, Session | None]:
        """The question with what was said before. Raises what `Service.predict` does."""
        facts = (await self.service.champion(body.model).ready()).facts
        first = next(iter(facts.fields))
        if first != FIELD:
            raise UsageError(f"{body.model} does not chat: its first field is {first}, not {FIELD}")
        messages, session = [one.model_dump() for one in body.messages], None
        if body.session is not None and body.user is not None:
            session = await asyncio.to_thread(self._open, body.user, body.session, key or request_id, messages)
            messages = await asyncio.to_thread(self._seen, session)
        options = options_of(body.model_extra or {}, facts)
        return Asked(body.model, "chat", [{FIELD: messages}], options, body.user, request_id), session

    def _open(self, user: str, name: str, key: str, new: Messages) -> Session:
        """The exchange, with the system's message that is in force: this one's, or that of the answer before."""
        asked = new
        if new[0]["role"] != "system":
            last = self.sessions.answered(user, name, most=1)
            asked = [*(one for one in (last[0].asked[:1] if last else []) if one["role"] == "system"), *new]
        exchange = self.sessions.begin(user, name, key, asked)
        if exchange.asked[-len(new) :] != new:
            raise UsageError("This Idempotency-Key has named another question in this session", do="use a new key")
        return Session(user, name, exchange)

    def _seen(self, session: Session) -> Messages:
        asked = session.exchange.asked
        before = self.sessions.answered(session.user, session.name, most=MOST_EXCHANGES, before=session.exchange.number)
        said = [one for each in before for one in each.messages if one["role"] != "system"]
        system = [one for one in asked[:1] if one["role"] == "system"]
        room = MOST_CHARACTERS + characters(asked)
        return truncated([*system, *said, *asked[len(system) :]], room, characters)[0]

    async def whole(self, asked: Asked, session: Session | None) -> dict[str, Any]:
        """The answer as OpenAI's `chat.completion`."""
        if session is not None and session.exchange.is_answered:
            return _completion(_of_session(asked, session.exchange))
        said = _said(await self.service.predict(asked))
        if session is not None:
            kept = await asyncio.to_thread(self._keep, session, said)
            if (
                kept is not None and kept.answer_id != said.id
            ):  # another who asked the same was first, and one answer stands
                said = _of_session(asked, kept)
        return _completion(said)

    async def events(self, asked: Asked, session: Session | None) -> AsyncGenerator[str]:
        """The answer as server-sent events of OpenAI's `chat.completion.chunk`s.

        What fails after the first of them is an event too. Of an answer whose reader goes away, the session keeps what was said.
        """
        if session is not None and session.exchange.is_answered:
            said = _of_session(asked, session.exchange)
            for one in _chunks(said, said.text):
                yield one
            return
        told, finished = "", False
        try:
            async with aclosing(self.service.stream(asked)) as stream:
                async for piece in stream:
                    if isinstance(piece, str):
                        yield _event(asked, {"content": piece} if told else {"role": "assistant", "content": piece})
                        told += piece
                        continue
                    said, finished = _said(piece), True
                    if session is not None:
                        await asyncio.to_thread(self._keep, session, said)
                    for one in _chunks(said, "" if told else said.text):
                        yield one
        except GenworksError as error:
            if not told and not finished:
                raise
            yield f"data: {json.dumps(error_body(status_of(error), str(error)))}\n\n"
        finally:
            if (
                told and not finished and session is not None
            ):  # nothing may be awaited in a task that is being cancelled
                cut = _Said(asked.ids[0], asked.system, None, told, CUT_SHORT, None)
                asyncio.get_running_loop().run_in_executor(None, self._keep, session, cut)

    def _keep(self, session: Session, said: _Said) -> Exchange | None:
        text = said.text if said.refused is None else said.refused
        return self.sessions.finish(
            session.user, session.name, session.exchange.key, text, id=said.id, finish=said.finish
        )


@dataclass(frozen=True)
class _Said:
    """An answer to be shown: `id` is what feedback refers to."""

    id: str
    system: str
    fingerprint: str | None
    text: str
    finish: str
    refused: str | None


def _said(reply: Reply) -> _Said:
    """Raises UsageError for messages that the pipeline cannot take."""
    (answer,) = reply.answers
    if answer.get("problem"):
        raise UsageError(f"{reply.system} cannot take these messages: {answer['problem']}")
    refused = answer.get("refused")
    finish = answer.get("finish_reason") or (REFUSED if refused else "stop")
    text = "" if refused else str(answer.get(next(iter(reply.facts.gives))) or "")
    return _Said(reply.ids[0], reply.system, fingerprint(reply), text, finish, refused)


def _of_session(asked: Asked, exchange: Exchange) -> _Said:
    refused = exchange.answer if exchange.finish == REFUSED else None
    id = exchange.answer_id or asked.ids[0]
    return _Said(id, asked.system, None, "" if refused else exchange.answer or "", exchange.finish or "stop", refused)


def _completion(said: _Said) -> dict[str, Any]:
    content = None if said.refused else said.text
    message = {"role": "assistant", "content": content, "refusal": said.refused}
    choice = {"index": 0, "message": message, "finish_reason": said.finish, "logprobs": None}
    return _head(said.id, "chat.completion", said.system, said.fingerprint) | {"choices": [choice]}


def _chunks(said: _Said, text: str) -> list[str]:
    """What a stream ends with: text that was not told yet, why it ends, and OpenAI's last word."""
    delta: dict[str, Any] = {"refusal": said.refused} if said.refused else {"content": text} if text else {}
    head = _head(said.id, "chat.completion.chunk", said.system, said.fingerprint)
    last = head | {"choices": [{"index": 0, "delta": delta, "finish_reason": said.finish}]}
    return [f"data: {json.dumps(last)}\n\n", "data: [DONE]\n\n"]


def _event(asked: Asked, delta: dict[str, Any]) -> str:
    head = _head(asked.ids[0], "chat.completion.chunk", asked.system, None)
    return f"data: {json.dumps(head | {'choices': [{'index': 0, 'delta': delta, 'finish_reason': None}]})}\n\n"


def _head(id: str, kind: str, system: str, made_by: str | None) -> dict[str, Any]:
    return {"id": id, "object": kind, "created": int(time.time()), "model": system, "system_fingerprint": made_by}
