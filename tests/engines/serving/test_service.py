"""What is recorded of requests, answers and feedback, while the log is there and while it is not."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.online.database import Database, DatabaseAway
from components.engines.online.log import EventLog
from components.engines.online.recorder import Recorder
from components.engines.serving import service as module
from components.engines.serving.champion import Busy, TooSlow, Unavailable
from components.engines.serving.process import Facts
from components.engines.serving.service import Asked, NotFound, Service, scrubbed, status_of

FACTS = Facts(3, {"text": "string", "image": "binary"}, {"output": "string", "picture": "binary"}, [], True)


class Echo:
    """A champion that answers with its input, or raises what it is told to."""

    process = None

    def __init__(self):
        self.error = None

    async def answer(self, inputs, options):
        if self.error:
            raise self.error
        return FACTS, [
            {"output": one["text"], "picture": "aGk=", "confidence": 0.25, "refused": None, "id": "s1"}
            for one in inputs
        ]

    async def stream(self, one, options):
        for piece in one["text"].split():
            yield FACTS, {"piece": piece}
        yield FACTS, {"answers": [{"output": one["text"]}]}


@pytest.fixture
def made(tmp_path):
    logs = [EventLog(Database(f"sqlite:///{tmp_path / name}.db")) for name in ("online", "spool")]
    recorder = Recorder(*logs, retry_s=0.05)
    champion = Echo()
    yield Service({"toy": champion}, recorder), champion, logs[0]
    recorder.close()


def asked(*texts, **more):
    return Asked("toy", "predict", [{"text": text, "image": "aGk="} for text in texts], **more)


def all_of(log):
    return [one for _, one in log.read()]


def test_a_request_and_its_answers_are_in_the_log_before_they_are_sent(made):
    service, _, log = made
    reply = asyncio.run(service.predict(asked("hello", "you", user="ann@example.org")))
    request, *answers = all_of(log)
    assert (request.id, [one.id for one in answers]) == (reply.id, reply.ids)
    assert request.data == {"system": "toy", "endpoint": "predict", "inputs": 2, "characters": 8}
    assert answers[1].data | {"milliseconds": 0} == {
        "system": "toy", "version": 3, "request": reply.id, "place": 1, "milliseconds": 0, "characters": 3,
        "outcome": "answered", "confidence": 0.25, "suggestion": "s1",
    }  # fmt: skip
    assert {one.subject for one in all_of(log)} == {log.database.pseudonym("ann@example.org")}
    assert "ann" not in json.dumps([one.as_json() for one in all_of(log)])


def test_texts_are_kept_scrubbed_where_that_is_asked_for_and_pictures_never(made):
    service, _, log = made
    service.scrub = scrubbed
    asyncio.run(service.predict(asked("write to ann@example.org, or call 212-555-0199")))
    request, answer = all_of(log)
    assert request.data["texts"] == answer.data["texts"] == ["write to <EMAIL>, or call <PHONE>"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 400),
        (DatabaseAway("x"), 503),
        (Unavailable("x"), 503),
        (TooSlow("x"), 504),
        (StageError("x"), 500),
        (ValueError(), 500),
    ],
)
def test_a_request_that_failed_is_in_the_log_with_its_status(made, error, status):
    service, champion, log = made
    champion.error = error
    with pytest.raises(type(error)):
        asyncio.run(service.predict(asked("hello")))
    service.recorder.add().result(timeout=60)
    assert [one.type for one in all_of(log)] == ["genworks.request", "genworks.failure"]
    assert all_of(log)[1].data["status"] == status == status_of(error)


def test_a_flood_that_is_turned_away_does_not_fill_the_log(made):
    service, champion, log = made
    champion.error = Busy("x")
    with pytest.raises(Busy):
        asyncio.run(service.predict(asked("hello")))
    service.recorder.add().result(timeout=60)
    assert all_of(log) == []
    with pytest.raises(NotFound, match=r"'other' is not served here.*ask toy"):
        asyncio.run(service.predict(Asked("other", "predict", [{}])))


def test_a_stream_is_recorded_when_it_is_whole_and_as_gone_when_its_reader_left(made):
    service, _, log = made

    async def read(most):
        stream = service.stream(Asked("toy", "chat", [{"text": "a b c"}]))
        found = []
        async for one in stream:
            found.append(one)
            if len(found) == most:
                await stream.aclose()
                break
        return found

    whole = asyncio.run(read(9))
    assert whole[:3] == ["a", "b", "c"]
    assert whole[3].answers == [{"output": "a b c"}]
    asyncio.run(read(2))
    service.recorder.add().result(timeout=60)
    assert [one.type.removeprefix("genworks.") for one in all_of(log)] == ["request", "answer", "request", "failure"]
    assert all_of(log)[-1].data["status"] == 499


def test_feedback_belongs_to_an_answer_and_is_recorded_once(made):
    service, _, log = made

    async def scene():
        reply = await service.predict(asked("hello", user="ann"))
        for _ in range(2):
            await service.feedback(reply.ids[0], "accepted", None, None, {"characters": 3})
        await service.feedback(reply.ids[0], "accepted", None, None, {"characters": 4})
        for _ in range(2):
            await service.feedback(reply.ids[0], "rated", None, "click-7", {"rating": 0.75})
        with pytest.raises(UsageError, match="rating: Field required"):
            await service.feedback(reply.ids[0], "rated", None, None, {})
        with pytest.raises(UsageError, match="characters: Extra inputs"):
            await service.feedback(reply.ids[0], "shown", None, None, {"characters": 3})
        with pytest.raises(NotFound):
            await service.feedback(reply.id, "shown", None, None, {})  # of a request, which nobody was shown
        return reply.ids[0]

    answer = asyncio.run(scene())
    feedback = [one for one in all_of(log) if one.data.get("answer") == answer]
    assert [one.type.rpartition(".")[2] for one in feedback] == ["accepted", "accepted", "rated"]
    assert {one.subject for one in feedback} == {log.database.pseudonym("ann")}
    assert feedback[2].id == "click-7"
    assert asyncio.run(service.forget("ann")) == 5
    assert all_of(log) == []


def test_answers_do_not_wait_for_a_log_that_is_away_but_feedback_says_so(made, monkeypatch):
    service, _, log = made
    monkeypatch.setattr(module, "RECORD_SECONDS", 0.1)
    reply = asyncio.run(service.predict(asked("hello")))

    def slow(events):
        time.sleep(2)
        raise DatabaseAway("The database of events does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", slow)
        patch.setattr(log, "find", lambda id: slow([]))
        started = time.monotonic()
        asyncio.run(service.predict(asked("hello")))
        assert time.monotonic() - started < 1.8
        with pytest.raises(DatabaseAway, match="does not answer"):
            asyncio.run(service.feedback(reply.ids[0], "shown", None, None, {}))
        service.recorder.add().result(timeout=60)
    service.recorder.forget("nobody").result(timeout=60)
    assert len(all_of(log)) == 4
