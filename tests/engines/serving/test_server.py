"""The server as programs meet it: a real socket, a registered model in its own process, a champion that moves."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
import threading
import time

import openai
import psutil
import pytest

from tests.engines.serving.served_project import events, promote, serving, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def server(project):
    with serving(
        project.root, "--seconds", "8", "--waiting", "6", "--body-mb", "0.01", GENWORKS_TOKEN=TOKEN
    ) as running:
        yield running


def test_answers_have_the_schema_of_the_pipeline_and_one_bad_input_leaves_its_neighbours(server):
    told = server.predict("hello", "", "zz top").json()
    whole = {"output": "ifmmp", "confidence": 0.5, "refused": None, "problem": None}
    assert told["answers"][0] == whole
    assert told["answers"][1] == dict.fromkeys(whole) | {"problem": "no text"}
    assert told["answers"][2]["output"] == "aa upq"
    assert told["system_fingerprint"] == "toy/1"
    assert len(set(told["ids"])) == 3
    odd = server.ask("POST", "/predict/toy", {"inputs": [{"text": 3}, {"texts": "a"}, {"text": "b", "loud": True}]})
    problems = [one["problem"] for one in odd.json()["answers"]]
    assert "text must be a string" in problems[0]
    assert "no field texts" in problems[1]
    assert problems[2] is None
    assert server.predict("hello", options={"twice": True}).json()["answers"][0]["output"] == "jgnnq"
    assert "Infinity" not in server.predict("nan").text
    assert "no number" in server.predict("nan").json()["answers"][0]["problem"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/predict/other", {"inputs": [{}]}, 404, "'other' is not served here"),
        ("POST", "/predict/toy", {"inputs": []}, 400, "at least 1 item"),
        ("POST", "/predict/toy", {"inputs": [{}], "more": 1}, 400, "body.more: Extra inputs"),
        ("POST", "/predict/toy", {"inputs": [{"text": "x"}], "options": {"loud": 1}}, 400, "no option loud"),
        ("POST", "/predict/toy", {"inputs": [{"text": "fail"}]}, 500, "the model failed on this input"),
        ("POST", "/predict/toy", {"inputs": [{"text": "x" * 20_000}]}, 413, "larger than"),
        ("POST", "/v1/completions", {"model": "toy", "prompt": ""}, 400, "no text"),
        ("POST", "/v1/completions", {"model": "toy", "prompt": "a", "temperature": 1}, 400, "no option temperature"),
        ("POST", "/feedback", {"id": "ans_1", "what": "shown"}, 404, "No answer has the id"),
        ("POST", "/feedback", {"id": "ans_1", "what": "loved"}, 400, "'shown', 'accepted'"),
        ("GET", "/predict/toy", None, 405, "Method Not Allowed"),
        ("GET", "/nowhere", None, 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_says_why(server, method, path, body, status, said):
    response = server.ask(method, path, body)
    assert response.status_code == status
    assert said in response.json()["error"]["message"]
    assert "secret of the machine" not in response.text


def test_one_answer_is_streamed_and_ends_with_what_is_answered_without_a_stream(server):
    told = server.ask("POST", "/predict/toy", {"inputs": [{"text": "hello"}], "stream": True})
    assert told.headers["content-type"].startswith("text/event-stream")
    *pieces, whole, last = [line.removeprefix("data: ") for line in told.text.split("\n\n") if line]
    plain = server.predict("hello").json()
    changing = {"id": None, "ids": None}
    assert json.loads(whole) | changing == plain | changing
    assert last == "[DONE]"
    assert all("piece" in json.loads(one) for one in pieces)
    assert server.ask("POST", "/predict/toy", {"inputs": [{}, {}], "stream": True}).status_code == 400
    assert server.ask("POST", "/predict/toy", {"inputs": [{"text": "fail"}], "stream": True}).status_code == 500


@pytest.mark.parametrize(
    "body", [b"{", b'{"inputs": [{"text": NaN}]}', b'{"inputs": [{"text": "\\ud800"}]}', b"[" * 9000]
)
def test_a_body_that_is_no_json_is_refused(server, body):
    with server.client as client:
        assert client.post("/predict/toy", content=body).status_code == 400


def test_nobody_gets_in_without_the_token_from_another_page_or_under_another_name(server):
    body = {"inputs": [{"text": "hello"}]}
    for headers in (
        {"authorization": "Bearer wrong"},
        {"authorization": ""},
        {"authorization": f"Basic {TOKEN}"},
    ):
        refused = server.ask("POST", "/predict/toy", body, **headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "GENWORKS_TOKEN" in refused.json()["error"]["message"]
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example"}):
        assert server.ask("POST", "/predict/toy", body, **headers).status_code == 403
        assert server.ask("GET", "/health", **headers).status_code == 403
    assert server.ask("POST", "/predict/toy", body, origin=server.url).status_code == 200
    assert server.ask("GET", "/health", authorization="").json() == {"status": "ok"}
    assert TOKEN not in server.log.read_text()
    family = [server.process.pid, *(child.pid for child in psutil.Process(server.process.pid).children(recursive=True))]
    assert not [pid for pid in family if TOKEN in " ".join(psutil.Process(pid).cmdline())]
    models = [psutil.Process(pid) for pid in family if "answers.py" in " ".join(psutil.Process(pid).cmdline())]
    assert [one for one in models if TOKEN in one.environ().values()] == []  # what a model runs has no business with it


def test_openais_client_gets_suggestions(server):
    plain = openai.DefaultHttpxClient(trust_env=False)
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0, http_client=plain)
    said = client.completions.create(model="toy", prompt="hi", extra_body={"context": {"loud": True}, "twice": False})
    assert (said.object, said.choices[0].text, said.choices[0].finish_reason) == ("text_completion", "HI", "stop")
    assert [(one.id, one.object) for one in client.models.list()] == [("toy", "model")]
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_a_slow_body_ends_with_408_and_a_slow_answer_with_504(server):
    host = server.url.removeprefix("http://")
    with socket.create_connection(host.split(":")) as connection:
        head = f"POST /predict/toy HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 99\r\n\r\n{{"
        connection.sendall(head.encode())
        connection.settimeout(30)
        assert connection.recv(200).startswith(b"HTTP/1.1 408")
    assert server.predict("sleep 10").status_code == 504
    assert server.predict("hello").status_code == 200  # the time that the model still sleeps counts as waiting


def test_more_requests_than_may_wait_are_told_to_come_back(server):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: server.predict("sleep 1"), range(12)))
    statuses = [one.status_code for one in found]
    assert statuses.count(200) == 6
    assert statuses.count(429) == 6
    assert {one.headers["retry-after"] for one in found if one.status_code == 429} == {"1"}
    assert server.predict("hello").status_code == 200


def test_a_suggestion_and_what_became_of_it_are_in_the_log_under_a_pseudonym(server, project):
    said = server.ask("POST", "/v1/completions", {"model": "toy", "prompt": "to ann@example.org", "user": "bob"}).json()
    assert said["choices"][0]["text"] == "up boo@fybnqmf.psh"
    assert said["choices"][0]["confidence"] == 0.5
    nothing = server.ask("POST", "/v1/completions", {"model": "toy", "prompt": "nothing", "user": "bob"}).json()
    assert (nothing["choices"], nothing["refused"]) == ([], "nothing to say")
    for what in (
        {"what": "shown"},
        {"what": "shown"},
        {"what": "accepted", "characters": 4},
        {"what": "rated", "rating": 1},
    ):
        assert server.ask("POST", "/feedback", {"id": said["id"], **what}).status_code == 200
    found = [one for one in events(project.root) if one["id"] == said["id"] or one["data"].get("answer") == said["id"]]
    assert [one["type"].removeprefix("genworks.") for one in found] == [
        "answer", "suggestion.shown", "suggestion.accepted", "rated",
    ]  # fmt: skip
    assert found[2]["data"] == {"system": "toy", "version": 1, "answer": said["id"], "characters": 4}
    assert len({one["subject"] for one in found}) == 1
    assert "ann" not in json.dumps(events(project.root))
    assert "bob" not in json.dumps(events(project.root))
    # a request and an answer twice, three of feedback
    assert server.ask("DELETE", "/users/bob").json() == {"events": 7, "exchanges": 0}
    assert not [one for one in events(project.root) if one.get("subject") == found[0]["subject"]]
    assert server.ask("POST", "/feedback", {"id": said["id"], "what": "shown"}).status_code == 404


def test_a_model_that_dies_is_started_anew_and_takes_only_its_request_with_it(server):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        dying = pool.submit(server.predict, "die", "hello")
        time.sleep(0.2)
        while server.model()["waiting"]:  # asked again of the next process, it ends that one too
            time.sleep(0.1)
        assert dying.result().status_code in (500, 504)
    wait_for(lambda: server.ask("GET", "/health").status_code == 200)
    assert server.predict("hello").json()["answers"][0]["output"] == "ifmmp"


def test_a_champion_that_moves_loses_no_request_and_one_that_was_changed_answers_nobody(server, project):
    """A champion is what the registry says: the version that it withdrew does not come back because the next is broken."""
    found, stop = [], threading.Event()

    def ask():
        with server.client as client:
            while not stop.is_set():
                found.append(client.post("/predict/toy", json={"inputs": [{"text": "hello"}]}))

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        promote(project, 2)
        server.wait_for_version(2)
        count = len(found)
        wait_for(lambda: len(found) > count + 5)
        stop.set()
        for one in asking:
            one.result()
    assert {one.status_code for one in found} == {200}
    told = [(one.json()["system_fingerprint"], one.json()["answers"][0]["output"]) for one in found]
    assert set(told) == {("toy/1", "ifmmp"), ("toy/2", "jgnnq")}
    ids = [id for one in found for id in one.json()["ids"]]
    assert set(ids) <= {one["id"] for one in events(project.root)}
    assert len(ids) == len(set(ids))
    weights = next(
        path for path in (project.root / "mlartifacts").rglob("weights.json") if '"shift": 1' in path.read_text()
    )
    kept = weights.read_text()
    weights.write_text(kept.replace('"shift": 1', '"shift": 3'))
    try:
        promote(project, 1)
        wait_for(lambda: server.ask("GET", "/health").status_code == 503)
        wait_for(lambda: server.predict("hello").status_code == 503)
        refused = server.predict("hello")
        assert "not those that were registered" in refused.json()["error"]["message"]
    finally:
        weights.write_text(kept)
    wait_for(lambda: server.predict("hello").status_code == 200)


def test_who_goes_away_is_no_longer_worked_for(server):
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    connection.request("POST", "/predict/toy", json.dumps({"inputs": [{"text": "sleep 8"}]}), headers)
    wait_for(lambda: server.model()["waiting"] == 1)
    connection.close()
    wait_for(lambda: server.model()["waiting"] == 0, 6)  # before its answer is there
