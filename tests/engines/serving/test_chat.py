"""Chat as OpenAI's own client meets it: whole, streamed, refused, failing, in sessions; the model is a double that streams."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
import time
from typing import Any

import openai
import pytest
import uvicorn

from components.engines.base.errors import StageError
from components.engines.online.database import Database
from components.engines.online.log import EventLog
from components.engines.online.recorder import Recorder
from components.engines.online.sessions import Sessions
from components.engines.serving.champion import Busy
from components.engines.serving.chat import Chats
from components.engines.serving.http import create_app
from components.engines.serving.limits import Limited
from components.engines.serving.process import Facts
from components.engines.serving.service import Service
from tests import over_http

FACTS = Facts(2, {"messages": "any"}, {"reply": "string"}, ["temperature", "max_new_tokens"], True)


class Talker:
    """Repeats what it sees: `N: ` messages and the last one's words. `no` is refused, `fail` fails, `busy` has no room."""

    system, problem, waiting = "talker", None, 0

    def __init__(self, pause: float = 0.0) -> None:
        self.process, self.pause, self.seen, self.options, self.closed = self, pause, [], {}, 0
        self.facts = FACTS

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def ready(self) -> Talker:
        return self

    def _reply(self, one: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(one["messages"])
        last = one["messages"][-1]["content"]
        if last == "busy":
            raise Busy("all taken")
        if last == "no":
            return {"reply": None, "refused": "that is harmful"}
        if last == "":
            return {"reply": None, "problem": "an empty question"}
        return {"reply": f"{len(one['messages'])}: {last}", "refused": None}

    async def answer(self, inputs, options):
        await asyncio.sleep(self.pause)
        self.options = options
        return FACTS, [self._reply(one) for one in inputs]

    async def stream(self, one, options):
        reply = self._reply(one)
        try:
            for number, word in enumerate((reply["reply"] or "").split()):
                if word == "fail":
                    raise StageError("the model failed on this input")
                yield FACTS, {"piece": (" " if number else "") + word}
                await asyncio.sleep(self.pause)
            yield FACTS, {"answers": [reply]}
        finally:
            self.closed += 1


@contextlib.contextmanager
def running(talker, folder, system="talker"):
    logs = [EventLog(Database(f"sqlite:///{folder / name}.db")) for name in ("online", "spool")]
    recorder = Recorder(*logs)
    service = Service({system: talker}, recorder)
    app = create_app(service, Chats(service, Sessions(logs[0].database)))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(Limited(app, 2**20, 10.0), log_level="error", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", logs[0]
        finally:
            server.should_exit = True
            thread.join()
            recorder.close()


@pytest.fixture
def talker():
    return Talker()


@pytest.fixture
def served(talker, tmp_path):
    with running(talker, tmp_path) as (url, log):
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=_client()), url, log


def _client():
    """OpenAI's client takes its own kind of HTTP client; this machine is reached without the environment's proxy."""
    return openai.DefaultHttpxClient(trust_env=False)


def ask(client, *contents, **more):
    messages = [{"role": "user", "content": one} for one in contents]
    return client.chat.completions.create(model="talker", messages=messages, **more)


def test_an_answer_whole(served, talker):
    client, url, log = served
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "how are you"},
    ]
    answer = client.chat.completions.create(model="talker", messages=messages, temperature=0.5, max_tokens=9)
    assert talker.seen == [messages]
    assert talker.options == {"temperature": 0.5, "max_new_tokens": 9}
    assert (answer.object, answer.model, answer.system_fingerprint) == ("chat.completion", "talker", "talker/2")
    assert answer.choices[0].message.content == "4: how are you"
    assert answer.choices[0].finish_reason == "stop"
    assert log.find(answer.id).data["characters"] == len("4: how are you")
    feedback = {"id": answer.id, "what": "rated", "rating": 1}
    assert over_http.ask(f"{url}/feedback", feedback).is_success
    assert [one.id for one in client.models.list()] == ["talker"]


def test_an_answer_streamed_is_the_same_under_one_id(served):
    client, _, log = served
    chunks = list(ask(client, "how are you", stream=True))
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == "1: how are you"
    assert len(chunks) == 5
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [one.choices[0].finish_reason for one in chunks] == [None] * 4 + ["stop"]
    assert len({one.id for one in chunks}) == 1
    assert log.find(chunks[0].id).data["outcome"] == "answered"


def test_what_is_refused_says_why_and_is_no_error(served):
    client, _, log = served
    answer = ask(client, "no")
    message = answer.choices[0].message
    assert (message.content, message.refusal, answer.choices[0].finish_reason) == (
        None,
        "that is harmful",
        "content_filter",
    )
    (last,) = list(ask(client, "no", stream=True))
    assert (last.choices[0].delta.refusal, last.choices[0].finish_reason) == ("that is harmful", "content_filter")
    assert log.find(answer.id).data["outcome"] == "refused"


@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_has_a_status_of_its_own(served, stream):
    client, _, _ = served
    with pytest.raises(openai.RateLimitError, match="all taken"):
        ask(client, "busy", stream=stream)
    with pytest.raises(openai.BadRequestError, match="an empty question"):
        ask(client, "", stream=stream)
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.chat.completions.create(model="other", messages=[{"role": "user", "content": "x"}], stream=stream)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "at least 1 item"),
        ([{"role": "assistant", "content": "x"}], "last message must be the user's"),
        ([{"role": "tool", "content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "messages.0.content"),
        ([{"role": "user", "content": "x", "name": "ann"}], "messages.0.name"),
    ],
)
def test_messages_that_are_none_are_refused(served, messages, said):
    with pytest.raises(openai.BadRequestError, match=said):
        served[0].chat.completions.create(model="talker", messages=messages)


def test_a_failure_in_the_middle_of_a_stream_is_told_in_the_stream(served):
    client, _, _ = served
    found = []
    with pytest.raises(openai.APIError, match="failed on this input"):
        found.extend(chunk.choices[0].delta.content for chunk in ask(client, "well then fail", stream=True))
    assert found == ["1:", " well", " then"]


def test_a_session_remembers_by_user_and_name(served, talker):
    client, url, _ = served

    def say(text, user="ann", session="work", **more):
        return ask(client, text, user=user, extra_body={"session": session}, **more)

    system = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one"}]
    client.chat.completions.create(model="talker", messages=system, user="ann", extra_body={"session": "work"})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in say("two", stream=True)) == "4: two"
    assert say("three").choices[0].message.content == "6: three"
    assert [one["content"] for one in talker.seen[-1]] == ["be kind", "one", "2: one", "two", "4: two", "three"]
    assert say("no").choices[0].message.refusal == "that is harmful"
    assert say("five").choices[0].message.content == "10: five"
    assert say("one", user="bob").choices[0].message.content == "1: one"
    assert say("one", session="home").choices[0].message.content == "1: one"
    there = over_http.answer_of(f"{url}/users/ann/sessions/work")["exchanges"]
    assert [one["answer"] for one in there] == ["2: one", "4: two", "6: three", "that is harmful", "10: five"]
    assert over_http.answer_of(f"{url}/users/ann/sessions") == {"sessions": ["home", "work"]}
    assert over_http.answer_of(f"{url}/users/ann/sessions/work", method="DELETE") == {"exchanges": 5}
    assert say("one").choices[0].message.content == "1: one"
    gone = over_http.answer_of(f"{url}/users/ann", method="DELETE")
    assert (gone["exchanges"], gone["events"]) == (2, 14)  # a request and an answer each
    assert say("two", user="bob").choices[0].message.content == "3: two"


def test_a_session_needs_its_user_and_the_new_messages_alone(served):
    client, _, _ = served
    with pytest.raises(openai.BadRequestError, match="belongs to a user"):
        ask(client, "x", extra_body={"session": "work"})
    said = [{"role": "assistant", "content": "x"}, {"role": "user", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="new messages alone"):
        client.chat.completions.create(model="talker", messages=said, user="ann", extra_body={"session": "work"})


def test_asking_again_with_the_same_key_gives_the_same_answer_and_doubles_nothing(served, talker):
    client, url, _ = served
    more = {"user": "ann", "extra_body": {"session": "work"}, "extra_headers": {"Idempotency-Key": "k1"}}
    first = ask(client, "one", **more)
    again = ask(client, "one", **more)
    assert (again.id, again.choices[0].message.content) == (first.id, "1: one")
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in ask(client, "one", stream=True, **more)) == "1: one"
    )
    assert len(talker.seen) == 1
    with pytest.raises(openai.BadRequestError, match="another question"):
        ask(client, "two", **more)
    assert len(over_http.answer_of(f"{url}/users/ann/sessions/work")["exchanges"]) == 1


def test_a_reader_that_goes_away_stops_the_model_and_the_session_keeps_what_was_said(tmp_path):
    talker = Talker(pause=0.2)
    with running(talker, tmp_path) as (url, log):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=_client())
        more = {"user": "ann", "extra_body": {"session": "work"}, "extra_headers": {"Idempotency-Key": "k1"}}
        stream = ask(client, "one two three four five six seven eight", stream=True, **more)
        said = [next(stream).choices[0].delta.content for _ in range(3)]
        stream.close()
        deadline = time.monotonic() + 60
        sessions = Sessions(log.database)
        while not sessions.answered("ann", "work", most=1):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (cut,) = sessions.answered("ann", "work", most=1)
        assert cut.answer.startswith("".join(said))
        assert not cut.is_answered
        assert talker.closed == 1
        talker.pause = 0.0
        assert (
            ask(client, "one two three four five six seven eight", **more).choices[0].message.content.endswith("eight")
        )
        (whole,) = sessions.answered("ann", "work", most=9)
        assert whole.is_answered


def test_several_write_one_session_at_once_and_every_exchange_is_there_once(served):
    client, url, _ = served
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, client, f"q{n}", user="ann", extra_body={"session": "work"}) for n in range(24)]
        answers = {one.result().choices[0].message.content.split(": ")[1] for one in asked}
    there = over_http.answer_of(f"{url}/users/ann/sessions/work")["exchanges"]
    assert answers == {f"q{n}" for n in range(24)} == {one["asked"][0]["content"] for one in there}
    assert len(there) == 24
    assert all(one["answer"].endswith(f": {one['asked'][0]['content']}") for one in there)


def test_a_system_that_does_not_chat_says_so(served, talker):
    talker.facts = Facts(2, {"text": "string"}, {"reply": "string"}, [], True)
    with pytest.raises(openai.BadRequestError, match="does not chat: its first field is text"):
        ask(served[0], "hi")
