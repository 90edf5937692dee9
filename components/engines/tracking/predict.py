"""Run a registered model on lines of text: `python -P predict.py --model models:/translation@champion < lines`.

One line out per line in, as soon as it is made; an empty line stays empty and asks no model. A line is the model's first input
field, or, where it has several, a JSON object of them: `{"image": "photo.jpg", "text": "a dog"}`. For a field of bytes a line
names the file that holds them. With `--json` each line out is `{"input": …, "output": {…}}`. Bytes in an answer (a picture) go
to the file `--out` names, of several answers to numbered ones beside it. Like `loadcheck.py` the program
imports nothing of genworks, so that the model runs on the code it was registered with, whatever the repository holds by now.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NO_SUCH_MODEL, NO_FILE = 3, 4
_TEXTS = ("string", "binary")


def batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lines as they come: what is there already goes together, up to `size`; nobody waits for a batch to fill."""
    ready: queue.Queue[str | None] = queue.Queue(maxsize=4 * size)

    def read() -> None:
        for line in lines:
            ready.put(line.rstrip("\r\n"))
        ready.put(None)

    threading.Thread(target=read, daemon=True).start()
    ended = False
    while not ended:
        batch: list[str] = []
        while len(batch) < size and not ended:
            try:
                line = ready.get(block=not batch)
            except queue.Empty:
                break
            if line is None:
                ended = True
            else:
                batch.append(line)
        if batch:
            yield batch


def answer(model: Any, texts: list[str], folder: Path) -> list[dict[str, Any] | None]:
    """The model's record for each line, None for those that are empty; paths in them are relative to `folder`."""
    import pandas

    fields = {column.name: column.type.name for column in model.metadata.get_input_schema().inputs}
    asked = [record_of(text, fields, folder) for text in texts if text.strip()]
    table = pandas.DataFrame(asked, columns=list(fields))
    # A column that no line fills would be one of NaN, a float, which MLflow refuses where texts or bytes are due.
    filled = {
        name: table[name].astype(object).where(table[name].notna(), None) for name in fields if fields[name] in _TEXTS
    }
    told = iter(model.predict(table.assign(**filled)) if asked else [])
    return [next(told) if text.strip() else None for text in texts]


def record_of(text: str, fields: dict[str, str], folder: Path) -> dict[str, Any]:
    """What a line asks, by field; `fields` gives MLflow's type of each. Raises ValueError, OSError."""
    record: Any = None
    if len(fields) > 1 and text.lstrip().startswith("{"):
        record = json.loads(text)
        unknown = sorted(record.keys() - fields.keys())
        if unknown:
            raise ValueError(f"the model has no field {', '.join(unknown)} (it has {', '.join(fields)})")
    record = {next(iter(fields)): text} if record is None else record
    return {name: value_of(value, fields[name], folder) for name, value in record.items()}


def value_of(value: Any, kind: str, folder: Path) -> Any:
    """A file's bytes for its name; a whole number as a float where the column is one (it has gaps): MLflow casts neither."""
    if kind == "binary" and isinstance(value, str):
        return (folder / value).read_bytes()
    return float(value) if kind == "double" and type(value) is int else value


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
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    import mlflow

    try:
        model = mlflow.pyfunc.load_model(options.model)
    except mlflow.exceptions.MlflowException as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_SUCH_MODEL
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    number, unwritten = 0, 0
    for texts in batches(sys.stdin, options.batch_size):
        try:
            records = answer(model, texts, options.folder)
            for text, record in zip(texts, records, strict=True):
                number += 1
                if options.out is not None and record is not None:
                    path = numbered(options.out, number)
                    record = written(record, path)
                    unwritten += record is None or str(path) not in record.values()
                if options.json:
                    told = {"input": text, "output": record}
                    output.write(json.dumps(told, ensure_ascii=False, default=_as_json) + "\n")
                else:
                    output.write(_shown(record) + "\n")
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        output.flush()
    if unwritten:
        print(f"{unwritten} of {number} answers hold nothing for --out", file=sys.stderr)
        return NO_FILE
    return 0


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


def _shown(record: dict[str, Any] | None) -> str:
    """The record's first text, on one line; of one without text, its first value."""
    values = [value for value in (record or {}).values() if value is not None]
    found = next((value for value in values if isinstance(value, str)), None)
    if found is None and values:
        found = (
            f"{len(values[0])} bytes (--out FILE)"
            if isinstance(values[0], bytes)
            else json.dumps(values[0], default=str)
        )
    return " ".join((found or "").splitlines())


if __name__ == "__main__":
    sys.exit(main())
