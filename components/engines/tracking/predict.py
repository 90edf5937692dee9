"""Run a registered model on lines of text: `python -P predict.py --model models:/translation@champion < lines`.

One line out per line in, as soon as it is made; an empty line stays empty and asks no model. With `--json` each line out is
`{"input": …, "output": {…}}`. Like `loadcheck.py` the program imports nothing of genworks, so that the model runs on the code
it was registered with, whatever the repository holds by now.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

NO_SUCH_MODEL = 3


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


def answer(model: Any, texts: list[str]) -> list[dict[str, Any] | None]:
    """The model's record for each text, None for those that are empty."""
    import pandas

    asked = [text for text in texts if text.strip()]
    field = model.metadata.get_input_schema().input_names()[0]
    told = iter(model.predict(pandas.DataFrame({field: asked})) if asked else [])
    return [next(told) if text.strip() else None for text in texts]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, metavar="URI")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batch-size", type=int, default=32)
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
    for texts in batches(sys.stdin, options.batch_size):
        for text, record in zip(texts, answer(model, texts), strict=True):
            if options.json:
                output.write(json.dumps({"input": text, "output": record}, ensure_ascii=False, default=str) + "\n")
            else:
                output.write(_shown(record) + "\n")
        output.flush()
    return 0


def _shown(record: dict[str, Any] | None) -> str:
    """The record's first text, on one line."""
    found = next((value for value in (record or {}).values() if isinstance(value, str)), "")
    return " ".join(found.splitlines())


if __name__ == "__main__":
    sys.exit(main())
