"""A conversation in the terminal: it is kept, goes on where it ended, and a failure does not look like an answer."""

import asyncio

import pytest

from components.engines.base.errors import StageError
from components.engines.online.database import Database
from components.engines.online.log import EventLog
from components.engines.online.recorder import Recorder
from components.engines.online.sessions import Sessions
from components.engines.serving.chat import Chats
from components.engines.serving.service import Service
from components.engines.serving.talk import said
from tests.engines.serving.test_chat import Talker


@pytest.fixture
def chats(tmp_path):
    logs = [EventLog(Database(f"sqlite:///{tmp_path / name}.db")) for name in ("online", "spool")]
    recorder = Recorder(*logs)
    yield Chats(Service({"talker": Talker()}, recorder), Sessions(logs[0].database))
    recorder.close()


def ask(chats, question, user="ann", session="work"):
    async def whole():
        return [piece async for piece in said(chats, "talker", user, session, question)]

    return [piece for piece in asyncio.run(whole()) if piece]


def test_answers_come_in_pieces_and_the_session_goes_on(chats):
    assert ask(chats, "one two") == ["1:", " one", " two"]
    assert "".join(ask(chats, "three")) == "3: three"
    assert "".join(ask(chats, "four", session="other")) == "1: four"
    assert "".join(ask(chats, "five", user="ben")) == "1: five"
    assert chats.sessions.delete("ann", "work") == 2
    assert "".join(ask(chats, "six")) == "1: six"


def test_a_refusal_is_shown_and_kept_and_a_failure_is_one(chats):
    assert ask(chats, "no") == ["that is harmful"]
    with pytest.raises(StageError, match="failed on this input"):
        ask(chats, "x fail")
    assert chats.sessions.answered("ann", "work", most=9)[0].answer == "that is harmful"
