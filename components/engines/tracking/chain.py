"""The ledger's lines and what holds them together: each line's hash, the seal put on it when it is closed, their order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.engines.base.paths import digest_value

CHAMPION, PREVIOUS = "champion", "previous"
GENESIS = "0" * 64  # what the first line follows

Moves = dict[str, tuple[int | None, int | None]]


@dataclass(frozen=True)
class Line:
    """One decision. `state` is open, done, failed or void; only done lines with moves changed anything."""

    seq: int
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
    process: str  # host:pid of the writer
    previous: str  # seal of the line before
    hash: str = ""
    state: str = "open"
    closed: str = ""
    seal: str = ""
    note: str = ""
    run_id: str = ""
    deleted: bool = False

    @property
    def intact(self) -> bool:
        """Whether the line says what it said when it was written."""
        return self.hash == digest_value(self.content())

    def content(self) -> dict[str, Any]:
        """What the hash covers: all that was decided, nothing that happened to it afterwards."""
        names = ("seq", "when", "who", "action", "system", "version", "digest", "data", "code", "evidence", "reason")
        kept = {name: getattr(self, name) for name in (*names, "process", "previous")}
        return kept | {"moves": {alias: list(move) for alias, move in self.moves.items()}}

    def as_dict(self) -> dict[str, Any]:
        return self.content() | {"hash": self.hash, "state": self.state, "closed": self.closed, "note": self.note}


def stamp(moment: datetime) -> str:
    """Fixed width, so that times sort as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seal_of(line_hash: str, state: str, closed: str, note: str) -> str:
    return digest_value([line_hash, state, closed, note])


def chain_of(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.state != "void"]


def chain_problems(lines: list[Line], head: int = 0) -> list[str]:
    """What is wrong with the lines; `head` is the number of the last line as noted elsewhere."""
    problems = []
    for line in lines:
        name = f"line {line.seq} (run {line.run_id})"
        if line.deleted:
            problems.append(f"{name} was deleted")
        if not line.intact:
            problems.append(f"{name} was changed after it was written")
        if line.state != "open" and line.seal != seal_of(line.hash, line.state, line.closed, line.note):
            problems.append(f"the outcome of {name} was changed")
    last, seal = 0, GENESIS
    for line in chain_of(lines):
        if line.seq == last:
            problems.append(f"there are two lines {line.seq}")
        elif line.seq != last + 1:
            problems.append(f"lines {last + 1} to {line.seq - 1} are missing")
        elif line.previous != seal:
            problems.append(f"line {line.seq} does not follow from the line before it")
        last, seal = line.seq, line.seal
    if head > last:
        problems.append(f"lines {last + 1} to {head} are missing")
    return problems


def alias_problems(lines: list[Line], now: dict[str, int]) -> list[str]:
    """Aliases that point elsewhere than the last done line says."""
    expected: dict[str, int | None] = {CHAMPION: None, PREVIOUS: None}
    for line in chain_of(lines):
        if line.state == "done":
            expected |= {alias: to for alias, (_, to) in line.moves.items()}
    return [
        f"alias '{alias}' points to {_named(now.get(alias))}, the ledger says {_named(to)}"
        for alias, to in expected.items()
        if now.get(alias) != to
    ]


def _named(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
