"""HTTP as tests speak it to servers that they start: one patience for all, no proxy, any status an answer."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import httpx

PATIENCE_S = 90.0  # a server that shares two processors with the suite may be silent for half a minute


def ask(url: str, body: Any = None, method: str | None = None, **headers: str) -> httpx.Response:
    """The answer, refusals included; `body` is sent as JSON, `Some_Name` as the header Some-Name.

    503 is asked again, as Prefect's own client does: its server answers so while another writer holds SQLite.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    method = method or ("GET" if body is None else "POST")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = httpx.request(method, url, json=body, headers=named, timeout=PATIENCE_S, trust_env=False)
        if answer.status_code != 503 or time.monotonic() > deadline:
            return answer
        time.sleep(1)


def answer_of(url: str, body: Any = None, **headers: str) -> Any:
    """The JSON of an answer that is no refusal."""
    answer = ask(url, body, **headers)
    assert answer.is_success, answer.text
    return answer.json()


def first_answer(url: str, body: Any, server: subprocess.Popen[Any]) -> Any:
    """As `answer_of`, from a server that is still starting; its end is a failure."""
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server did not answer"
        try:
            return answer_of(url, body)
        except httpx.TransportError:
            time.sleep(0.5)
