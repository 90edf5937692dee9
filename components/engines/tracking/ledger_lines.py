"""The table below the ledger: each line is one version of the registered model `<system>-ledger`, its content in tags.

The registry numbers versions under a unique key and stores a version with its tags in one transaction, on SQLite, on
PostgreSQL and behind a server. So appending is atomic, no two lines share a number, and a number is never used again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from components.engines.tracking.registry import Version

_TAG = "genworks.ledger"
_APPLIED, _HEAD = f"{_TAG}.applied", f"{_TAG}.head"
_CHUNK = 4000  # characters a tag: what older servers take
_PAGE = 1000

Moves = dict[str, tuple[int | None, int | None]]


@dataclass(frozen=True)
class Line:
    """One decision. It counts from the moment it is written, unless another one came between it and what it had seen."""

    seq: int
    after: int  # number of the last line that the writer had seen, 0 for none
    when: str  # UTC, ISO 8601
    who: str
    action: str  # promote | rollback | refuse | dry-run
    system: str
    version: int
    digest: str
    moves: Moves  # alias -> (from, to), None where it pointed or points nowhere
    data: dict[str, str]  # dvc.lock hashes the version stands on
    code: str  # git commit it stands on
    evidence: dict[str, Any]
    reason: str
    applied: bool = False  # the aliases have followed
    problem: str = ""  # why the line cannot be read

    def content(self) -> dict[str, Any]:
        """What was decided: all that is written."""
        kept = {name: getattr(self, name) for name in _CONTENT}
        return kept | {"moves": {alias: list(move) for alias, move in self.moves.items()}}

    def as_dict(self) -> dict[str, Any]:
        return {"seq": self.seq} | self.content()


_CONTENT = [one.name for one in fields(Line) if one.name not in {"seq", "applied", "problem"}]


def stamp(moment: datetime) -> str:
    """Fixed width, so that times sort as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def append(client: Any, line: Line, found: Version) -> Line:
    """Write the line; the registry gives it its number."""
    name = _model(line.system)
    ensure_table(client, line.system)
    text = json.dumps(line.content(), ensure_ascii=False, sort_keys=True)
    chunks = [text[first : first + _CHUNK] for first in range(0, len(text), _CHUNK)]
    tags = {f"{_TAG}.line.{number:04d}": chunk for number, chunk in enumerate(chunks)}
    what = f"{line.action} {line.system} version {line.version} by {line.who}"
    made = client.create_model_version(name, f"runs:/{found.run_id}/model", found.run_id, tags=tags, description=what)
    client.set_registered_model_tag(name, _HEAD, made.version)
    return replace(line, seq=int(made.version))


def read(client: Any, system: str) -> list[Line]:
    """Every line there is, by number; what cannot be read keeps its place, with the problem named."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{_model(system)}'", max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted((_line_of(system, one) for one in found), key=lambda line: line.seq)


def mark_applied(client: Any, line: Line) -> None:
    client.set_model_version_tag(_model(line.system), str(line.seq), _APPLIED, "true")


def head(client: Any, system: str) -> int:
    """The number of the last line ever written: lines cut off the end show."""
    from mlflow.exceptions import MlflowException

    try:
        return int(client.get_registered_model(_model(system)).tags.get(_HEAD, "0"))
    except (MlflowException, ValueError):
        return 0


def ensure_table(client: Any, system: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(_model(system), description=f"Ledger of {system}: a version is a decision")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def in_force(lines: list[Line]) -> list[Line]:
    """The readable lines that count: a line does not if one that does came between it and what its writer had seen.

    Every reader comes to the same answer from the table alone, so two writers that meet need not speak to each other.
    """
    counting: list[Line] = []
    for line in lines:
        if not line.problem and not (counting and counting[-1].seq > line.after):
            counting.append(line)
    return counting


def table_problems(lines: list[Line], last_written: int) -> list[str]:
    """Lines that are gone or cannot be read."""
    numbers = {line.seq for line in lines}
    last = max([last_written, *numbers], default=0)
    problems = [f"line {number} is missing" for number in range(1, last + 1) if number not in numbers]
    return problems + [f"line {line.seq} cannot be read: {line.problem}" for line in lines if line.problem]


def _model(system: str) -> str:
    return f"{system}-ledger"


def _line_of(system: str, found: Any) -> Line:
    number, tags = int(found.version), found.tags
    text = "".join(tags[name] for name in sorted(tags) if name.startswith(f"{_TAG}.line."))
    try:
        written = json.loads(text)
        content = {name: written[name] for name in _CONTENT}
        content["moves"] = {alias: (old, new) for alias, (old, new) in content["moves"].items()}
        return Line(number, **content, applied=tags.get(_APPLIED) == "true")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        return Line(number, 0, "", "", "unreadable", system, 0, "", {}, {}, "", {}, "", problem=problem)
