"""The client of search servers against a real one (osmem, a native binary), and against one that is busy."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.documents.chunking import Chunk
from components.engines.index import opensearch
from components.engines.index.library import EVERYONE
from components.engines.index.opensearch import SearchServer

osmem_server = pytest.importorskip("osmem_server", reason="osmem-server (extra dev) is not installed here")


def chunk(document, number, text):
    return Chunk(f"{document}-{number}", document, 1, "text", text, (), ())


@pytest.fixture(scope="module")
def address():
    server = osmem_server.OsmemServer.start(japanese=False)
    yield server.url
    server.close()


def test_chunks_are_found_by_words_for_those_who_may_read_them_and_forgotten(address):
    server = SearchServer("rag", address)
    server.create()
    server.create()  # twice is once
    server.put("a", [chunk("a", 0, "the pump costs twelve euros"), chunk("a", 1, "the lamp is blue")], [EVERYONE])
    server.put("b", [chunk("b", 0, "the secret pump costs nothing")], ["board"])
    assert [name for name, _ in server.search("pump costs", [], 5)] == ["a-0"]
    assert {name for name, _ in server.search("pump costs", ["board"], 5)} == {"a-0", "b-0"}
    server.put("a", [chunk("a", 0, "the pump is sold out")], [EVERYONE])
    assert server.search("lamp twelve", [], 5) == []
    assert server.forget("a") == 1
    assert server.search("pump", [], 5) == []


class Busy(BaseHTTPRequestHandler):
    """Answers 429 to each chunk's first try."""

    tried: ClassVar[set] = set()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if "_bulk" not in self.path:
            return self.answer({"deleted": 0})
        items = []
        for line in body.splitlines()[::2]:
            name = json.loads(line)["index"]["_id"]
            status = 201 if name in self.tried else 429
            self.tried.add(name)
            items.append(
                {"index": {"_id": name, "status": status, **({} if status == 201 else {"error": {"type": "busy"}})}}
            )
        return self.answer({"errors": any(item["index"]["status"] == 429 for item in items), "items": items})

    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def test_a_busy_server_is_asked_again_later(monkeypatch):
    monkeypatch.setattr(opensearch, "_FIRST_WAIT_S", 0)
    Busy.tried = set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        server = SearchServer("rag", f"http://127.0.0.1:{http.server_port}")
        server.put("a", [chunk("a", number, "text") for number in range(3)], [EVERYONE])
        assert Busy.tried == {"a-0", "a-1", "a-2"}
        http.shutdown()


def test_no_address_a_credential_in_it_and_no_server_are_clear_errors(monkeypatch):
    monkeypatch.delenv("OPENSEARCH_URL", raising=False)
    with pytest.raises(UsageError, match="No search server"):
        SearchServer("rag")
    with pytest.raises(UsageError, match="login"):
        SearchServer("rag", "http://user:secret@localhost:9200")
    monkeypatch.setattr(opensearch, "_RETRIES", 0)
    with pytest.raises(StageError, match="search server"):
        SearchServer("rag", "http://127.0.0.1:9", timeout_s=1).create()
