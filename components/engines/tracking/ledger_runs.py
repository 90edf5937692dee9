"""Ledger lines as MLflow runs: the content in tags, written once, and one tag more when the line is closed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from components.engines.tracking.chain import Line, seal_of, stamp

_TAG = "genworks.ledger"
_CHUNK = 4000  # characters a tag: MLflow's limit is 8000, some older servers' 5000


def write(client: Any, experiment: str, line: Line) -> Line:
    text = json.dumps(line.content(), ensure_ascii=False, sort_keys=True)
    chunks = [text[first : first + _CHUNK] for first in range(0, len(text), _CHUNK)]
    tags = {f"{_TAG}.line.{number:04d}": chunk for number, chunk in enumerate(chunks)}
    tags |= {f"{_TAG}.hash": line.hash, f"{_TAG}.seq": str(line.seq)}
    run = client.create_run(experiment, tags=tags, run_name=f"{line.seq:06d} {line.action} version {line.version}")
    return replace(line, run_id=run.info.run_id)


def close(client: Any, line: Line, state: str, note: str = "") -> Line:
    closed = max(stamp(datetime.now(UTC)), line.when)  # a clock set back closes no line before it was written
    seal = seal_of(line.hash, state, closed, note)
    closing = {"state": state, "closed": closed, "note": note, "seal": seal}
    client.set_tag(line.run_id, f"{_TAG}.closing", json.dumps(closing))  # one tag: whole or not at all
    client.set_terminated(line.run_id, "FINISHED" if state == "done" else "FAILED")
    return replace(line, state=state, closed=closed, note=note, seal=seal)


def read(client: Any, experiment: str) -> list[Line]:
    """Every line there is, void and deleted ones included, by number and time."""
    from mlflow.entities import ViewType

    runs, token = [], None
    while True:
        page = client.search_runs(
            [experiment],
            run_view_type=ViewType.ALL,
            max_results=1000,
            order_by=["attribute.start_time"],
            page_token=token,
        )
        runs += page
        token = page.token
        if not token:
            break
    lines = [_line_of(run) for run in runs if f"{_TAG}.hash" in run.data.tags]
    return sorted(lines, key=lambda line: (line.seq, line.when))


def _line_of(run: Any) -> Line:
    tags = run.data.tags
    text = "".join(tags[name] for name in sorted(tags) if name.startswith(f"{_TAG}.line."))
    closing: dict[str, Any] = {}
    try:
        content = json.loads(text)
        closing = json.loads(tags.get(f"{_TAG}.closing", "{}"))
        content["moves"] = {alias: tuple(pair) for alias, pair in content["moves"].items()}
        line = Line(**content, hash=tags[f"{_TAG}.hash"], run_id=run.info.run_id)
    except (ValueError, TypeError, KeyError, AttributeError):
        line = _unreadable(run, tags)
    return replace(line, **closing, deleted=run.info.lifecycle_stage != "active")


def _unreadable(run: Any, tags: dict[str, str]) -> Line:
    """A line somebody broke: kept in its place, with a hash that cannot be right."""
    number = tags.get(f"{_TAG}.seq", "0")
    seq = int(number) if number.isdecimal() else 0
    return Line(
        seq, "", "", "unreadable", "", 0, "", {}, {}, "", {}, "", "", "", hash="unreadable", run_id=run.info.run_id
    )
