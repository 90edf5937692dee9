"""Chat with a registered pipeline over a real socket: streamed, remembered, and killed in the middle of an answer."""

from __future__ import annotations

import os
import signal

import httpx
import openai
import pytest

from tests.engines.serving.served_project import TALK, events, make_served_project, serving
from tests.engines.tracking.registered_project import toy_importable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SLOW = "one two three four five six seven eight nine ten"


def client_of(server):
    plain = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, http_client=plain, timeout=60)


def say(client, text, key=None, **more):
    headers = {"Idempotency-Key": key} if key else {}
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(
        model="toy", messages=messages, user="ann", extra_body={"session": "work"}, extra_headers=headers, **more
    )


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_a_session_outlives_a_kill_in_the_middle_of_an_answer(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "GENWORKS_"))]:
        monkeypatch.delenv(name)
    root = tmp_path / "project"
    with toy_importable(root):
        make_served_project(root, TALK, seconds=0.3)
    with serving(root) as server:
        client = client_of(server)
        assert say(client, "hi", temperature=0.5).choices[0].message.content == "1: ij"
        assert text_of(say(client, "you", stream=True)) == "3: zpv"
        stream = say(client, SLOW, "k1", stream=True)
        assert text_of([next(stream), next(stream)]) == "5: pof"
        server.process.send_signal(signal.SIGKILL)
        with pytest.raises((openai.APIError, httpx.TransportError)):
            text_of(stream)
    with serving(root) as server:
        client = client_of(server)
        there = server.ask("GET", "/users/ann/sessions/work").json()["exchanges"]
        assert [one["answer"] for one in there] == ["1: ij", "3: zpv", None]
        assert say(client, "hi").choices[0].message.content == "5: ij"  # the question without an answer is not seen
        whole = say(client, SLOW, "k1").choices[0].message.content
        assert (
            whole
            == text_of(say(client, SLOW, "k1", stream=True))
            == "5: pof uxp uisff gpvs gjwf tjy tfwfo fjhiu ojof ufo"
        )
        there = server.ask("GET", "/users/ann/sessions/work").json()["exchanges"]
        assert [one["answer"] for one in there] == ["1: ij", "3: zpv", whole, "5: ij"]
        long = say(client, "x" * 100).choices[0].message.content
        assert long.startswith("3: ")  # of eight messages before, the pipeline keeps the last exchange
        assert server.ask("DELETE", "/users/ann").json()["exchanges"] == 5
    ids = [one["id"] for one in events(root)]
    assert len(ids) == len(set(ids))
