"""Answer requests with a registered model: `python -P answers.py --model models:/toy/3`, JSON lines in and out.

    -> {"do": "answer", "id": "a", "inputs": [{…}, …], "options": {…}}    <- {"id": "a", "answers": [{…}, …]}
    -> {"do": "stream", "id": "b", "input": {…}, "options": {…}}          <- {"id": "b", "piece": "…"} … and then as above
    -> {"do": "cancel", "id": "b"}                                        (no more of b)
    -> {"do": "end"}                                                      (what was asked is answered first)

The first line out says that the model is `ready`, and what it takes and gives. What cannot be answered has an `error` in place of
`answers`; its neighbours are answered. Requests that wait go to the model together if their options are equal, and streams are
advanced in turn. The program ends when its input does. Like `predict.py`, from which it has the checks before loading, it imports
nothing of genworks: the model runs on the code it was registered with.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import importlib.util
import json
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BATCH = 16  # inputs of several requests that go to the model together
STREAMS = 8  # advanced in turn; more wait
_KINDS: dict[str, Any] = {
    "string": str,
    "binary": str,
    "boolean": bool,
    "long": int,
    "integer": int,
    "double": int | float,
}

Request = dict[str, Any]


class UsageError(Exception):
    """What the asker did wrong; the pipelines' own have this name too."""


class Server:
    """Requests of `waiting` answered by the pipeline; `fields` and `gives` are MLflow's types of what goes in and comes out."""

    def __init__(self, pipeline: Any, fields: dict[str, str], gives: dict[str, str], output: Any) -> None:
        self.pipeline, self.fields, self.gives, self.output = pipeline, fields, gives, output
        self.waiting: queue.Queue[Request] = queue.Queue()
        self.cancelled: set[str] = set()
        self.streams: dict[str, Iterator[Any]] = {}
        self.ending = False

    def read(self, lines: Any) -> None:
        """Take in lines until there are no more, which is the end of who asks: nobody would read another answer."""
        for line in lines:
            request = json.loads(line)
            if request["do"] == "cancel":  # overtakes what waits
                self.cancelled.add(request["id"])
            self.waiting.put(request)
        os._exit(0)

    def run(self) -> None:
        put_off: list[Request] = []  # streams for which there is no room yet
        while put_off or self.streams or not self.ending or not self.waiting.empty():
            requests = put_off + self._arrived(block=not self.streams and not put_off)
            whole = [one for one in requests if one["do"] == "answer" and one["id"] not in self.cancelled]
            begin = [one for one in requests if one["do"] == "stream" and one["id"] not in self.cancelled]
            self.ending |= any(one["do"] == "end" for one in requests)
            for request in requests:
                if request["do"] == "cancel":
                    self._close(request["id"])
                    self.cancelled.discard(request["id"])
            for batch in batches(whole):
                self._answer(batch)
            room = STREAMS - len(self.streams)
            put_off = begin[room:]
            for request in begin[:room]:
                self._begin(request)
            for id in list(self.streams):
                self._advance(id)

    def _arrived(self, block: bool) -> list[Request]:
        found = [self.waiting.get()] if block else []
        while not self.waiting.empty():
            found.append(self.waiting.get())
        return found

    def _answer(self, batch: list[Request]) -> None:
        """Several requests in one call; each by itself if that fails, so that only the guilty one does."""
        try:
            answers = iter(
                self._predicted([one for request in batch for one in request["inputs"]], batch[0]["options"])
            )
        except Exception as error:
            if len(batch) == 1:
                self._say(batch[0]["id"], **failure(error))
                return
            for request in batch:
                self._answer([request])
            return
        for request in batch:
            self._say(request["id"], answers=[next(answers) for _ in request["inputs"]])

    def _predicted(self, inputs: list[dict[str, Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
        """An answer an input; what makes an input none is its answer's `problem`."""
        self._check(options)
        asked: list[dict[str, Any]] = []
        answers: list[dict[str, Any] | None] = []
        for one in inputs:
            try:
                asked.append(record_of(one, self.fields))
                answers.append(None)
            except ValueError as error:
                answers.append({**dict.fromkeys(self.gives), "problem": str(error)})
        made = iter(self.pipeline.predict(asked, **options) if asked else [])
        return [checked(next(made)) if answer is None else answer for answer in answers]

    def _check(self, options: dict[str, Any]) -> None:
        known = getattr(self.pipeline, "options", {})
        if unknown := sorted(options.keys() - known.keys()):
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise UsageError(f"The model has no option {', '.join(unknown)}: {has}")

    def _begin(self, request: Request) -> None:
        try:
            self._check(request["options"])
            record = record_of(request["input"], self.fields)
            # registered before there was such a thing as a stream, it gives its answer in one piece
            start = getattr(self.pipeline, "stream", lambda one, **options: self.pipeline.predict([one], **options))
            self.streams[request["id"]] = iter(start(record, **request["options"]))
        except ValueError as error:
            self._say(request["id"], answers=[{**dict.fromkeys(self.gives), "problem": str(error)}])
        except Exception as error:
            self._say(request["id"], **failure(error))

    def _advance(self, id: str) -> None:
        """One piece of a stream; its last item is the whole answer."""
        try:
            made = next(self.streams[id])
        except Exception as error:
            self._close(id)
            self._say(id, **failure(error))
            return
        if made.keys() == {"piece"}:
            self._say(id, piece=made["piece"])
        else:
            self._close(id)
            self._say(id, answers=[checked(made)])

    def _close(self, id: str) -> None:
        close = getattr(self.streams.pop(id, None), "close", None)
        if close is not None:
            close()

    def _say(self, id: str, **what: Any) -> None:
        self.output.write(json.dumps({"id": id, **what}, ensure_ascii=False, allow_nan=False, default=plain) + "\n")
        self.output.flush()


def batches(requests: list[Request]) -> Iterator[list[Request]]:
    """Requests of equal options next to each other, up to BATCH inputs."""
    batch: list[Request] = []
    for request in requests:
        full = sum(len(one["inputs"]) for one in batch) + len(request["inputs"]) > BATCH
        if batch and (full or batch[0]["options"] != request["options"]):
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch


def record_of(one: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    """The input with the bytes of its Base64 and floats where they are due. Raises ValueError for what the model cannot take."""
    unknown = sorted(one.keys() - fields.keys())
    if unknown:
        raise ValueError(f"the model has no field {', '.join(unknown)} (it has {', '.join(fields)})")
    return {name: value_of(value, name, fields[name]) for name, value in one.items()}


def value_of(value: Any, name: str, kind: str) -> Any:
    allowed = _KINDS.get(kind)
    if value is None or allowed is None:
        return value
    if not isinstance(value, allowed) or isinstance(value, bool) != (allowed is bool):
        raise ValueError(f"{name} must be a {kind}, not {json.dumps(value)[:100]}")
    if kind == "binary":
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{name} must be Base64: {error}") from None
    return float(value) if kind == "double" else value


def checked(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, or that it is none: one with NaN or infinity in it is no answer, and no JSON."""
    if finite(answer):
        return answer
    return {**dict.fromkeys(answer), "problem": "the answer is no number (NaN): the model's arithmetic failed on it"}


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(finite(child) for child in value.values())
    if isinstance(value, list | tuple):
        return all(finite(child) for child in value)
    return finite(value.tolist()) if hasattr(value, "tolist") else not isinstance(value, float) or math.isfinite(value)


def plain(value: Any) -> Any:
    """Bytes as Base64, numbers and arrays of numpy as Python's."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value.tolist()


def failure(error: Exception) -> dict[str, Any]:
    """A pipeline's UsageError is the asker's: its words. Anything else is ours: it is logged, and not told."""
    if any(kind.__name__ == "UsageError" for kind in type(error).__mro__):
        return {"error": str(error), "usage": True}
    traceback.print_exception(error, file=sys.stderr)
    return {"error": "the model failed on this input", "usage": False}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, metavar="URI")
    options = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM):  # a terminal's Ctrl-C too: who asks says when the last answer is given
        signal.signal(sign, signal.SIG_IGN)
    output = os.fdopen(
        os.dup(1), "w", encoding="utf-8", errors="replace"
    )  # libraries print; only answers may reach the caller's pipe
    os.dup2(2, 1)
    predict = _beside("predict")
    try:
        model, version = predict.loaded(options.model)
    except predict.Unusable as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    pipeline = model.unwrap_python_model().pipeline
    fields, gives = types_of(model.metadata.get_input_schema()), types_of(model.metadata.get_output_schema())
    pipeline.predict(pipeline.example)  # what is made at the first call is made now
    server = Server(pipeline, fields, gives, output)
    facts = {"version": int(version.version), "fields": fields, "gives": gives}
    facts |= {"options": list(getattr(pipeline, "options", {})), "streams": hasattr(pipeline, "stream")}
    output.write(json.dumps({"ready": facts}) + "\n")
    output.flush()
    threading.Thread(target=server.read, args=(sys.stdin.buffer,), daemon=True).start()
    server.run()
    os._exit(0)  # the reader holds stdin, for which an orderly end would wait


def types_of(schema: Any) -> dict[str, str]:
    """MLflow's type by field; what is no plain type is `any`."""
    return {one.name: getattr(one.type, "name", "any") for one in schema.inputs} if schema else {}


def _beside(name: str) -> Any:
    """A module of this folder, which is on no path: its other files are none of the model's business."""
    place = importlib.util.spec_from_file_location(f"genworks_{name}", Path(__file__).with_name(f"{name}.py"))
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
