"""Requests that come as lines: together where they may, in turn where they stream, each for itself where one fails."""

from __future__ import annotations

import io
import json
import threading
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from components.engines.tracking import answers as program
from components.engines.tracking.answers import BATCH, Server, batches, value_of

FIELDS = {"text": "string", "count": "long", "sure": "double", "loud": "boolean", "image": "binary", "turns": "any"}


class Pipeline:
    """Answers with the text; `fail` fails, `nan` is no number. Notes what was asked together."""

    options: ClassVar = {"twice": False}

    def __init__(self):
        self.calls, self.closed = [], []

    def predict(self, inputs, **options):
        texts = [one["text"] for one in inputs]
        self.calls.append((texts, options))
        if "fail" in texts:
            raise RuntimeError("inner detail")
        return [{"output": text, "score": float("nan") if text == "nan" else 1.0} for text in texts]

    def stream(self, one, **options):
        try:
            for piece in one["text"].split():
                if piece == "fail":
                    raise RuntimeError("inner detail")
                yield {"piece": piece}
            yield {"output": one["text"]}
        finally:
            self.closed.append(one["text"])


def serve(*requests, pipeline=None):
    """What is said to requests that have all arrived before the first is looked at."""
    output = io.StringIO()
    server = Server(pipeline or Pipeline(), FIELDS, {"output": "string", "score": "double"}, output)
    for request in requests:
        server.waiting.put(request)
        if request["do"] == "cancel":
            server.cancelled.add(request["id"])
    server.waiting.put({"do": "end"})
    server.run()
    return [json.loads(line) for line in output.getvalue().splitlines()]


def whole(id, *texts, **options):
    return {"do": "answer", "id": id, "inputs": [{"text": text} for text in texts], "options": options}


def stream(id, text, **options):
    return {"do": "stream", "id": id, "input": {"text": text}, "options": options}


@given(st.lists(st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.booleans()), max_size=12))
def test_everybody_is_answered_in_order_whatever_goes_together(asked):
    pipeline = Pipeline()
    requests = [whole(str(n), *texts, twice=twice) for n, (texts, twice) in enumerate(asked)]
    said = serve(*requests, pipeline=pipeline)
    assert [one["id"] for one in said] == [str(n) for n in range(len(asked))]
    assert [[answer["output"] for answer in one["answers"]] for one in said] == [texts for texts, _ in asked]
    assert all(len(texts) <= max(BATCH, 6) for texts, _ in pipeline.calls)
    for batch in batches(requests):
        assert len({request["options"]["twice"] for request in batch}) == 1


def test_the_guilty_request_fails_alone_and_tells_nobody_why():
    said = serve(whole("a", "x"), whole("b", "fail"), whole("c", "y"))
    assert [one.get("error") for one in said] == [None, "the model failed on this input", None]
    assert "inner detail" not in json.dumps(said)


def test_an_input_that_the_model_cannot_take_is_its_answers_problem():
    wrong = [{"text": 3}, {"other": "a"}, {"count": "3"}, {"loud": 1}, {"count": True}, {"image": "no base 64!"}]
    request = {"do": "answer", "id": "a", "inputs": [{"text": "x"}, *wrong], "options": {}}
    (said,) = serve(request)
    problems = [one.get("problem") for one in said["answers"]]
    assert problems[0] is None
    assert "text must be a string" in problems[1]
    assert "no field other" in problems[2]
    assert "count must be a long" in problems[3]
    assert "loud must be a boolean" in problems[4]
    assert "count must be a long" in problems[5]
    assert "image must be Base64" in problems[6]
    assert said["answers"][1] == {"output": None, "score": None, "problem": problems[1]}


def test_values_become_what_the_model_takes():
    assert value_of("aGk=", "image", "binary") == b"hi"
    assert type(value_of(3, "sure", "double")) is float
    assert value_of([{"role": "user"}], "turns", "any") == [{"role": "user"}]
    assert value_of(None, "text", "string") is None


def test_what_is_no_number_is_no_answer():
    (said,) = serve(whole("a", "nan", "x"))
    assert "no number" in said["answers"][0]["problem"]
    assert said["answers"][1]["score"] == 1.0


def test_options_that_the_model_does_not_have_are_the_askers():
    said = serve(whole("a", "x", loud=1), stream("b", "x", loud=1), whole("c", "x", twice=True))
    assert [one.get("usage") for one in said] == [True, None, True]  # what is whole goes first
    assert "no option loud: its options are twice" in said[0]["error"]


def test_streams_take_turns_and_each_is_whole():
    pipeline = Pipeline()
    said = serve(stream("a", "1 2 3"), stream("b", "x y"), whole("c", "now"), pipeline=pipeline)
    pieces = {id: [one["piece"] for one in said if one["id"] == id and "piece" in one] for id in "ab"}
    assert pieces == {"a": ["1", "2", "3"], "b": ["x", "y"]}
    assert [one["id"] for one in said][:5] == ["c", "a", "b", "a", "b"]
    assert {one["id"]: one["answers"][0]["output"] for one in said if "answers" in one} == {
        "a": "1 2 3", "b": "x y", "c": "now",
    }  # fmt: skip
    assert sorted(pipeline.closed) == ["1 2 3", "x y"]


def test_more_streams_than_fit_wait_for_their_turn(monkeypatch):
    monkeypatch.setattr(program, "STREAMS", 2)
    said = serve(*(stream(str(n), "p q") for n in range(5)))
    assert sorted(one["id"] for one in said if "answers" in one) == list("01234")


def test_what_is_cancelled_is_not_begun_and_what_has_begun_is_closed():
    pipeline = Pipeline()
    said = serve(
        stream("a", "1 2"), whole("b", "x"), {"do": "cancel", "id": "a"}, {"do": "cancel", "id": "b"}, pipeline=pipeline
    )
    assert said == []
    assert pipeline.calls == []
    server = Server(pipeline, FIELDS, {}, io.StringIO())
    server._begin(stream("c", "1 2 3"))
    server._advance("c")
    server._close("c")
    assert pipeline.closed == ["1 2 3"]


def test_a_stream_that_fails_says_so_after_its_pieces():
    said = serve(stream("a", "1 fail"), stream("b", "x"))
    assert [one for one in said if one["id"] == "a"] == [
        {"id": "a", "piece": "1"}, {"id": "a", "error": "the model failed on this input", "usage": False},
    ]  # fmt: skip
    assert said[-1]["id"] == "b" or said[-2]["id"] == "b"


def test_a_pipeline_without_streams_answers_in_one_piece():
    class Plain:
        def predict(self, inputs, **options):
            return [{"output": one["text"]} for one in inputs]

    assert serve(stream("a", "x y"), pipeline=Plain()) == [{"id": "a", "answers": [{"output": "x y"}]}]


def test_the_program_ends_when_nobody_asks_any_more(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(program.os, "_exit", lambda code: ended.set())
    server = Server(Pipeline(), FIELDS, {}, io.StringIO())
    server.read(io.StringIO(json.dumps(whole("a", "x")) + "\n"))
    assert ended.is_set()
    assert server.waiting.get_nowait()["id"] == "a"


def test_bytes_travel_as_base64():
    assert program.plain(b"bytes") == "Ynl0ZXM="
