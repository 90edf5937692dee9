"""Run a registered model on lines of text: `python -P predict.py --model models:/translation@champion < lines`.

One line out per line in, as soon as it is made, and what an empty one means is the model's business. A line is the model's first
input field, or, where it has several, a JSON object of them: `{"image": "photo.jpg", "text": "a dog"}`. For a field of bytes a
line names the file that holds them. What makes a line no question (no such file, bad JSON) is its answer's `problem`, and the
others are answered; the program then ends with NO_ANSWER. With `--json` each line out is `{"input": …, "output": {…}}`. Bytes in
an answer (a picture) go to the file `--out` names, of several answers to numbered ones beside it. What the model warns of is on
stderr, after WARNING. Like `loadcheck.py` the program imports nothing of genworks, so that the model runs on the code it was
registered with, whatever the repository holds by now.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import logging
import math
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NO_SUCH_MODEL, NO_FILE, DAMAGED, NO_ANSWER = 3, 4, 5, 6
WARNING = "warning: "
SEAL = "genworks.seal"  # the version's tag: MLmodel, the wrapper and the requirements -> SHA-256
_TEXTS = ("string", "binary")
_ALLOWED: dict[str, Any] = {
    "string": str,
    "binary": str,
    "boolean": bool,
    "long": int,
    "integer": int,
    "double": int | float,
}


def batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lines as they come: what is there already goes together, up to `size`; nobody waits for a batch to fill."""
    ready: queue.Queue[str | OSError | None] = queue.Queue(maxsize=4 * size)

    def read() -> None:
        end = None
        try:
            for line in lines:
                ready.put(line.rstrip("\r\n"))
        except OSError as error:  # raised below: nobody would hear of it here, and the reader would wait for ever
            end = error
        ready.put(end)

    threading.Thread(target=read, daemon=True).start()
    ended = False
    while not ended:
        batch: list[str] = []
        while len(batch) < size and not ended:
            try:
                line = ready.get(block=not batch)
            except queue.Empty:
                break
            if isinstance(line, OSError):
                raise line
            if line is None:
                ended = True
            else:
                batch.append(line)
        if batch:
            yield batch


def answer(model: Any, texts: list[str], folder: Path) -> list[dict[str, Any]]:
    """The model's record for each line, or one that says the `problem` of a line; paths in lines are relative to `folder`."""
    import pandas

    fields = {column.name: getattr(column.type, "name", "any") for column in model.metadata.get_input_schema().inputs}
    outputs = model.metadata.get_output_schema()
    unanswered = dict.fromkeys(outputs.input_names() if outputs else [])
    asked: list[dict[str, Any]] = []
    problems: list[str | None] = []
    for text in texts:
        try:
            asked.append(record_of(text, fields, folder))
            problems.append(None)
        except (ValueError, OSError, RecursionError) as error:
            problems.append(_why(error))
    table = pandas.DataFrame(asked, columns=list(fields))
    # A column that no line fills would be one of NaN, a float, which MLflow refuses where texts or bytes are due.
    filled = {
        name: table[name].astype(object).where(table[name].notna(), None) for name in fields if fields[name] in _TEXTS
    }
    made = iter(model.predict(table.assign(**filled)) if asked else [])
    records = [{**unanswered, "problem": problem} if problem else next(made) for problem in problems]
    nan = "the answer is no number (NaN): the model's arithmetic failed on it"
    return [{**unanswered, "problem": nan} if has_nan(record) else record for record in records]


def record_of(text: str, fields: dict[str, str], folder: Path) -> dict[str, Any]:
    """What a line asks, by field; `fields` gives MLflow's type of each. Raises ValueError, OSError, RecursionError."""
    record: Any = None
    first = next(iter(fields))
    if (len(fields) > 1 or fields[first] == "any") and text.lstrip().startswith("{"):
        record = json.loads(text, parse_constant=_no_json)
        unknown = sorted(record.keys() - fields.keys())
        if unknown:
            raise ValueError(f"the model has no field {', '.join(unknown)} (it has {', '.join(fields)})")
    if record is None:  # to a model that chats, a line is what its user says
        record = {first: [{"role": "user", "content": text}] if first == "messages" else text}
    return {name: value_of(value, name, fields[name], folder) for name, value in record.items()}


def value_of(value: Any, name: str, kind: str, folder: Path) -> Any:
    """A file's bytes for its name, a whole number as a float where the column is one (it has gaps): MLflow casts neither.

    Raises ValueError for another type than the column's: MLflow would refuse the whole table for it.
    """
    allowed = _ALLOWED.get(kind)
    if (
        value is not None
        and allowed
        and (not isinstance(value, allowed) or (isinstance(value, bool) != (allowed is bool)))
    ):
        raise ValueError(f"{name} must be a {kind}, not {json.dumps(value)[:100]}")
    if isinstance(value, str):
        value.encode()  # half a surrogate pair, as JSON can write it, is no text
    if kind == "binary" and isinstance(value, str):
        path = folder / value
        if value.strip() and path.exists() and not path.is_file():
            raise ValueError(f"{value} is no regular file")  # a device would be read for ever
        return path.read_bytes() if value.strip() else b""
    return float(value) if kind == "double" and type(value) is int else value


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read: {error.strerror}"
    if isinstance(error, RecursionError):
        return "bad JSON: nested too deeply"
    return f"bad JSON: {error}" if isinstance(error, json.JSONDecodeError) else str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, metavar="URI")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=Path(), help="what paths in the lines are relative to")
    parser.add_argument("--out", type=Path, help="file for the bytes of an answer")
    options = parser.parse_args()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")  # libraries print; only answers may reach the caller's pipe
    os.dup2(2, 1)
    warnings = logging.StreamHandler(sys.stderr)
    warnings.setFormatter(logging.Formatter(WARNING + "%(message)s"))
    logging.getLogger("genworks").addHandler(warnings)
    try:
        model, _ = loaded(options.model)
    except Unusable as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    return _answer_lines(model, options, output)


def _answer_lines(model: Any, options: argparse.Namespace, output: Any) -> int:
    number, unwritten, problems = 0, 0, 0
    for texts in batches(sys.stdin, options.batch_size):
        try:
            for text, record in zip(texts, answer(model, texts, options.folder), strict=True):
                number += 1
                problems += bool(record.get("problem"))
                if options.out is not None:
                    path = numbered(options.out, number)
                    record = written(record, path)
                    unwritten += str(path) not in record.values()
                shown = {"input": text, "output": record}
                line = json.dumps(shown, ensure_ascii=False, default=_as_json) if options.json else _shown(record)
                output.write(line + "\n")
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        output.flush()
    if problems:
        print(f"error: {problems} of {number} inputs could not be answered", file=sys.stderr)
        return NO_ANSWER
    if unwritten:
        print(f"{unwritten} of {number} answers hold nothing for --out", file=sys.stderr)
        return NO_FILE
    return 0


class Unusable(Exception):
    """A version that is not there, or whose files are not those that were registered; `code` is the program's exit code."""

    def __init__(self, code: int, what: object) -> None:
        super().__init__(str(what))
        self.code = code


def loaded(uri: str) -> tuple[Any, Any]:
    """The model that `uri` stands for and its version. Raises Unusable, before anything of it runs."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    import mlflow

    try:
        version, folder = fetched(uri)
    except mlflow.exceptions.MlflowException as error:
        raise Unusable(NO_SUCH_MODEL, error) from None
    changed = broken_seals(folder, version.tags)
    if changed:
        raise Unusable(DAMAGED, f"{_not_registered(version)}: {', '.join(changed)}")
    try:
        # Of a plain path MLflow would decode `%41`; its warnings, of libraries that differ, nobody sees and take half a second.
        return mlflow.pyfunc.load_model(folder.as_uri(), suppress_warnings=True), version
    except RuntimeError as error:
        if "not those that were registered" not in str(error):
            raise
        # said by the wrapper, itself sealed, which has checked all other files
        why = str(error).rpartition("registered: ")[2]
        raise Unusable(DAMAGED, f"{_not_registered(version)}: {why}") from None


def fetched(model: str) -> tuple[Any, Path]:
    """The version that `models:/NAME/VERSION` or `models:/NAME@ALIAS` stands for, and the folder of its files."""
    import mlflow

    client, named = mlflow.MlflowClient(), model.removeprefix("models:/")
    name, at, alias = named.partition("@")
    version = client.get_model_version_by_alias(name, alias) if at else client.get_model_version(*named.split("/"))
    place = client.get_model_version_download_uri(version.name, version.version)
    try:
        return version, Path(mlflow.artifacts.download_artifacts(place))
    except (OSError, mlflow.exceptions.MlflowException):
        return version, Path(os.devnull)  # nothing of it is there


def broken_seals(folder: Path, tags: dict[str, str]) -> list[str]:
    """What of the files that decide what is loaded is not as the registry says."""
    if SEAL not in tags:
        return ["it was registered before versions were sealed, so nobody can say whether they are"]
    found = []
    for name, digest in json.loads(tags[SEAL]).items():
        if not (folder / name).is_file():
            found.append(f"{name} is missing")
        elif hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            found.append(f"{name} was changed after registration")
    return found


def _not_registered(version: Any) -> str:
    return f"the files of {version.name} version {version.version} are not those that were registered"


def has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_nan(child) for child in value.values())
    if isinstance(value, list | tuple):
        return any(has_nan(child) for child in value)
    return isinstance(value, float) and math.isnan(value)  # numpy's floats too


def numbered(path: Path, number: int) -> Path:
    """`picture.png`, `picture-2.png`, …"""
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def written(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """The record with its first bytes in a file, and the file's name in their place."""
    for name, value in record.items():
        if isinstance(value, bytes):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)
            return {**record, name: str(path)}
    return record


def _as_json(value: Any) -> str:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


def _shown(record: dict[str, Any]) -> str:
    """Why there is no answer; how to keep bytes; else the record's first text, on one line; of one without, its first value."""
    reasons = [record[name] for name in ("problem", "refused") if record.get(name)]
    values = reasons or [value for value in record.values() if value is not None]
    unkept = [f"{len(value)} bytes (--out FILE)" for value in values if isinstance(value, bytes)]
    found = next((value for value in [*unkept, *values] if isinstance(value, str)), None)
    if found is None and values:
        found = json.dumps(values[0], default=str)
    return " ".join((found or "").splitlines())


if __name__ == "__main__":
    sys.exit(main())
