"""A project whose toy can be served: it shifts letters, word by word when it streams, and does as some words say.

`fail` raises, `die` ends the process, `sleep S` takes its time, `nan` answers with no number, `nothing` is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from components.engines.tracking import ledger
from components.engines.tracking.versions import version
from tests.engines.tracking.registered_project import Project, make_project

START_SECONDS = 240.0

SERVE = '''\
"""The toy's inference pipeline."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from components.engines.base.errors import BadRecord
from components.engines.serving.pipeline import Pipeline
from components.toy.letters import shifted


class Shifter(Pipeline):
    fields: ClassVar[tuple[str, ...]] = ("output", "confidence")
    example: ClassVar[list[dict[str, Any]]] = [{"text": "hello", "loud": False}]
    options: ClassVar[dict[str, Any]] = {"twice": False}

    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights

    @classmethod
    def load(cls, folder: Path) -> "Shifter":
        return cls(json.loads((folder / "weights.json").read_text()))

    def read(self, one: dict[str, Any], chosen: Any) -> str:
        if not one.get("text"):
            raise BadRecord("no text")
        return one["text"].upper() if one.get("loud") else one["text"]

    def answer(self, asked: list[str], chosen: Any) -> list[dict[str, Any]]:
        return [self.one(text, chosen) for text in asked]

    def one(self, text: str, chosen: Any) -> dict[str, Any]:
        word, _, rest = text.partition(" ")
        if word == "fail":
            raise RuntimeError("a secret of the machine")
        if word == "die":
            os._exit(9)
        if word == "nothing":
            return {"refused": "nothing to say"}
        time.sleep(float(rest) if word == "sleep" else self.weights["seconds"])
        output = shifted(text, self.weights["shift"] * (2 if chosen["twice"] else 1))
        return {"output": output, "confidence": float("nan") if word == "nan" else 0.5}

    def stream(self, one: dict[str, Any], **options: Any) -> Iterator[dict[str, Any]]:
        (answer,) = self.predict([one], **options)
        for number, word in enumerate((answer["output"] or "").split()):
            yield {"piece": (" " if number else "") + word}
            time.sleep(self.weights["seconds"])
        yield answer
'''


TALK = '''\
"""The toy as one that chats: it says how many messages it sees, and shifts the letters of the last, word by word."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from components.engines.serving.conversation import characters, truncated
from components.engines.serving.pipeline import Pipeline
from components.toy.letters import shifted


class Shifter(Pipeline):
    fields: ClassVar[tuple[str, ...]] = ("reply",)
    example: ClassVar[list[dict[str, Any]]] = [{"messages": [{"role": "user", "content": "hello"}]}]
    options: ClassVar[dict[str, Any]] = {"temperature": 1.0}

    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights

    @classmethod
    def load(cls, folder: Path) -> "Shifter":
        return cls(json.loads((folder / "weights.json").read_text()))

    def read(self, one: dict[str, Any], chosen: Any) -> list[dict[str, Any]]:
        return truncated(one["messages"], 120, characters)[0]

    def answer(self, asked: list[Any], chosen: Any) -> list[dict[str, Any]]:
        return [{"reply": f"{len(one)}: {shifted(one[-1]['content'], self.weights['shift'])}"} for one in asked]

    def pieces(self, asked: Any, chosen: Any) -> Iterator[str | dict[str, Any]]:
        (answer,) = self.answer([asked], chosen)
        for number, word in enumerate(answer["reply"].split()):
            yield (" " if number else "") + word
            time.sleep(self.weights["seconds"])
        yield answer
'''


def make_served_project(root: Path, pipeline: str = SERVE, **weights: Any) -> Project:
    """The project with version 1 (letters shifted by one) as champion."""
    project = make_project(root)
    (root / "components/toy/serve.py").write_text(pipeline)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "commit", "-qam", "A toy to be served"], cwd=root, check=True, capture_output=True)
    add_version(project, shift=1, **weights)
    promote(project, 1)
    return project


def add_version(project: Project, **weights: Any) -> int:
    return project.train(**weights).register().version


def promote(project: Project, number: int) -> None:
    ledger.move(project.root, version(project.root, "toy", number), "promote", evidence={})


@dataclass
class Server:
    """A running server: `client` asks it, with its token where it has one."""

    url: str
    process: subprocess.Popen[str]
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=60, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        with self.client as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.request(method, path, json=body, headers=named)

    def predict(self, *texts: str, **more: Any) -> httpx.Response:
        return self.ask("POST", "/predict/toy", {"inputs": [{"text": text} for text in texts]} | more)

    def model(self) -> dict[str, Any]:
        return self.ask("GET", "/v1/models").json()["data"][0]

    def wait_for_version(self, number: int) -> None:
        wait_for(lambda: self.model()["version"] == number)


def wait_for(condition: Any, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def serving(root: Path, *words: str, system: str = "toy", ready: bool = True, **environment: str) -> Iterator[Server]:
    """The server program in the project until the end of the block; `ready`: its champion answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = root / f"server-{port}.log"
    command = [sys.executable, "-m", "components.engines.serving.server", system, "--port", str(port), *words]
    with path.open("w") as log:
        process = subprocess.Popen(command, cwd=root, env=os.environ | environment, stdout=log, stderr=log, text=True)
    token = environment.get("GENWORKS_TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    server = Server(f"http://127.0.0.1:{port}", process, path, headers)
    try:
        wait_for(lambda: answers(server) and (not ready or server.ask("GET", "/health").status_code == 200))
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(server: Server) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    try:
        return server.ask("GET", "/health").status_code in (200, 503)
    except httpx.TransportError:
        return False


def events(root: Path) -> list[dict[str, Any]]:
    """All events of the project's log, as another process reads them."""
    from components.engines.online.database import Database, database_url
    from components.engines.online.log import EventLog

    database = Database(database_url(root))
    found = [json.loads(json.dumps(one.as_json())) for _, one in EventLog(database).read()]
    database.close()
    return found
