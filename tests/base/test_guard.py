"""Who gets in: this server's own pages and programs, with the login."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.base.errors import UsageError
from components.engines.base.guard import Guard, token_for

LOGIN = b"Bearer a-token-of-some-length"


def ask(guard, path="/predict/toy", kind="http", **headers):
    """The status, or `inside` where the app was reached."""
    sent = []
    scope = {"type": kind, "path": path}
    scope["headers"] = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, None, send))
    return sent[0].get("status", sent[0].get("code"))


async def inside(scope, receive, send):
    await send({"status": "inside"})


HERE = {"host": "127.0.0.1:8000"}
OWN = {"authorization": LOGIN.decode()}
BEYOND = {"host": "genworks.example"}


@pytest.mark.parametrize(
    ("headers", "local", "beyond"),
    [
        (HERE | OWN, "inside", "inside"),
        (HERE, 401, 401),
        (OWN, 403, 403),  # no host at all
        ({"host": "localhost:8000"} | OWN, "inside", "inside"),
        ({"host": "127.0.0.1:8001"} | OWN, 403, "inside"),
        (BEYOND | OWN, 403, "inside"),
        (HERE | OWN | {"origin": "http://127.0.0.1:8000"}, "inside", "inside"),
        (HERE | OWN | {"origin": "http://evil.example"}, 403, 403),
        (HERE | OWN | {"origin": "null"}, 403, 403),
        (BEYOND | OWN | {"origin": "https://genworks.example"}, 403, "inside"),
        (BEYOND | OWN | {"origin": "https://genworks.example.evil"}, 403, 403),
        (BEYOND | {"origin": "https://genworks.example"}, 403, 401),  # a rebound name: its page has no token
    ],
)
def test_hosts_origins_and_the_login(headers, local, beyond):
    assert ask(Guard(inside, 8000, LOGIN, "how"), **headers) == local
    assert ask(Guard(inside, None, LOGIN, "how"), **headers) == beyond


def test_health_and_servers_without_a_login_ask_for_none_but_for_the_right_name():
    guard = Guard(inside, 8000, LOGIN, "how")
    assert ask(guard, "/health", **HERE) == "inside"
    assert ask(guard, "/health", host="evil.example") == 403
    assert ask(guard, "/health", "websocket", **HERE) == 1008
    assert ask(Guard(inside, 8000, None, "how"), **HERE) == "inside"


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_no_other_login_gets_in(guess):
    if guess.encode("latin-1") != LOGIN:
        assert ask(Guard(inside, 8000, LOGIN, "how"), **HERE, authorization=guess) == 401


def test_beyond_this_machine_there_must_be_a_token_that_is_not_guessed(monkeypatch):
    monkeypatch.delenv("GENWORKS_TOKEN", raising=False)
    assert token_for("127.0.0.1") is None
    with pytest.raises(UsageError, match=r"only to those who have a token.*set GENWORKS_TOKEN"):
        token_for("0.0.0.0")
    monkeypatch.setenv("GENWORKS_TOKEN", "short")
    with pytest.raises(UsageError, match="16 or more") as raised:
        token_for("127.0.0.1")
    assert "short" not in str(raised.value)  # not repeated
    monkeypatch.setenv("GENWORKS_TOKEN", "0123456789abcdef")
    assert token_for("0.0.0.0") == "0123456789abcdef"
