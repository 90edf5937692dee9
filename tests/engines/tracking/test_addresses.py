"""Addresses of stores are shown without what is secret in them; one that can be read two ways is refused unseen."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import unquote

import pytest

from components.engines.base.errors import GenworksError, StageError, UsageError
from components.engines.tracking.addresses import hidden, shown
from components.engines.tracking.reach import probe
from components.engines.tracking.secrets import masked
from components.engines.tracking.store import opened, store_of

PASSWORDS = ["p@ss/word", "s3cr#t", "que?ry", "a/b", "p@ss", "x@y@z"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql", "https"])
def test_an_ambiguous_password_is_refused_without_being_repeated(tmp_path, monkeypatch, scheme, password):
    uri = f"{scheme}://user:{password}@db.example/mlflow"
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(variable, uri)
        with pytest.raises(UsageError, match="%40") as raised:
            store_of(tmp_path)
        monkeypatch.delenv(variable)
        assert password not in str(raised.value)
    for said in (shown(uri), hidden(f"cannot open {uri}", uri), masked(uri)):
        assert not [part for part in (password, password[-3:] + "@") if part in said], said


@pytest.mark.parametrize("password", ["hunter2", "p%40ss%2Fword", "s3cr%23t"])
def test_a_readable_password_stays_out_of_every_message(tmp_path, monkeypatch, password):
    uri = f"postgresql+psycopg2://user:{password}@127.0.0.1:9/mlflow?sslpassword=alsosecret"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(GenworksError) as raised, opened(store_of(tmp_path)):
        pass
    told = f'password "{password}" ({unquote(password)}) of {uri} failed'
    for said in (str(raised.value), shown(uri), hidden(told, uri)):
        assert not [secret for secret in (password, unquote(password), "alsosecret") if secret in said], said
    assert shown(uri) == "postgresql+psycopg2://127.0.0.1:9/mlflow"


def test_a_server_behind_a_login_is_found():
    """urllib would look for a host called `user:hunter2@127.0.0.1`, and repeat it."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401 if self.path == "/health" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        probe(f"http://user:hunter2@127.0.0.1:{server.server_port}")
        server.shutdown()
    with pytest.raises(StageError, match="cannot be reached") as raised:
        probe("http://user:hunter2@localhost.invalid/base")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "uri", ["sqlite:////tmp/a@b/mlflow.db", "https://tracking.example:5000/base", "file:///tmp/x@y"]
)
def test_addresses_without_secrets_are_shown_whole(uri):
    assert shown(uri) == uri
