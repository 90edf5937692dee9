"""Whatever is sent, the answer is a status that says whose fault it is, and never that the server failed."""

from __future__ import annotations

import asyncio
import itertools
import json

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.engines.online.database import Database
from components.engines.online.log import EventLog
from components.engines.online.recorder import Recorder
from components.engines.online.sessions import Sessions
from components.engines.serving.chat import Chats
from components.engines.serving.http import create_app
from components.engines.serving.limits import Limited
from components.engines.serving.service import Service
from tests.engines.serving.test_chat import Talker

NUMBERS = itertools.count()
keys = st.sampled_from(
    "inputs options user model prompt context stream messages role content session id what characters rating event".split()
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just("\ud800")
    | st.sampled_from(["talker", "user", "rated"])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=5)
)
good = {
    "/predict/talker": {"inputs": [{"messages": [{"role": "user", "content": "hi"}]}]},
    "/v1/completions": {"model": "talker", "prompt": "hi"},
    "/v1/chat/completions": {
        "model": "talker",
        "messages": [{"role": "user", "content": "hi"}],
        "user": "ann",
        "session": "s",
    },
    "/feedback": {"id": "ans_1", "what": "rated", "rating": 1},
}


class Patient(Talker):
    """Takes anything for messages, as answers.py has looked at it before."""

    def _reply(self, one):
        return {"reply": "hm", "refused": None}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(sorted(good)), changes=st.dictionaries(keys, values, max_size=3), instead=st.none() | values
)
def test_no_body_makes_the_server_fail(tmp_path, path, changes, instead):
    logs = [EventLog(Database(f"sqlite:///{tmp_path}/{name}-{next(NUMBERS)}.db")) for name in ("online", "spool")]
    recorder = Recorder(*logs)
    service = Service({"talker": Patient()}, recorder)
    app = Limited(create_app(service, Chats(service, Sessions(logs[0].database))), 2**20, 5.0)

    async def ask():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            body = (good[path] | changes) if instead is None else instead
            written = json.dumps(body)  # NaN, infinity and halves of surrogate pairs too
            return await client.post(path, content=written, headers={"content-type": "application/json"})

    response = asyncio.run(ask())
    recorder.close()
    assert response.status_code in (200, 400, 404), response.text
    if response.status_code != 200:
        assert response.json()["error"]["message"]
