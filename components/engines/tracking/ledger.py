"""Who moved which alias, when, to what, on what evidence: an append-only table that lives with the registry.

The table is the truth, the aliases `champion` and `previous` are a view of it. A move is one line (`ledger_lines`), decided
on the lines its writer had seen; then the aliases follow the last line in force, as a fresh read of the table has it, and
the line is marked applied. So

- a move that was interrupted is completed by the next access: its line stands, only the aliases lag;
- of two writers that meet the later line does not count, and its writer decides again on what it finds now;
- a writer that slept sets the aliases by what stands when it wakes, not by what it once decided;
- an alias moved by other means disagrees with the table (`verify`), and so do lines that are gone or cannot be read.

It guards against accidents and races. Against somebody who may write to the database it guards nothing: who may do that
is the database's business. Nothing outside this module sets an alias.
"""

from __future__ import annotations

import getpass
import json
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import EllipsisType
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.tracking.addresses import exists
from components.engines.tracking.ledger_lines import (
    Line,
    Moves,
    append,
    head,
    in_force,
    mark_applied,
    read,
    stamp,
    table_problems,
)
from components.engines.tracking.names import check_system
from components.engines.tracking.registry import Version, aliases
from components.engines.tracking.store import Store, opened, shown, store_of

CHAMPION, PREVIOUS = "champion", "previous"
LOCK_SECONDS = 1800  # a gate that judges holds the lock; another one waits for it so long
_ATTEMPTS = 6


def move(
    root: Path,
    found: Version,
    action: str,
    *,
    evidence: dict[str, Any],
    reason: str = "",
    expected: int | EllipsisType | None = ...,
    seen: int | None = None,
) -> Line:
    """Make `found` the champion, on the record. The only way an alias moves.

    `promote` leaves the old champion as `previous`; `rollback` leaves the one that stood before the version rolled back
    to, so that a second rollback goes further back. `expected` is the champion the decision was made against, `seen` the
    number of the last line it took into account: if there is another by now, StageError. Raises StageError too when the
    ledger has lost lines or an alias was moved by other means; a rollback repairs both, on the record.
    """

    def decide(client: Any, lines: list[Line]) -> Moves:
        now = _standing(lines)
        if expected is not ... and now[CHAMPION] != expected:
            raise StageError(
                f"The champion of {found.name} is version {now[CHAMPION]} now; this was judged against {expected}",
                where=shown(store_of(root).registry),
                do="run again",
            )
        old = now[CHAMPION]
        behind = old if action == "promote" else _predecessor(lines, found.version)
        if behind is not None and not _exists(client, found.name, behind):
            behind = None
        return {CHAMPION: (old, found.version), PREVIOUS: (now[PREVIOUS], behind)}

    return _append(store_of(root), found, action, decide, evidence, reason, seen)


def note(
    root: Path, found: Version, action: str, *, evidence: dict[str, Any], reason: str = "", seen: int | None = None
) -> Line:
    """Put a decision on record that moves nothing: `refuse`, `dry-run`. `seen` as for `move`."""
    return _append(store_of(root), found, action, lambda *_: {}, evidence, reason, seen)


def history(root: Path, system: str, as_of: str | datetime | None = None) -> list[Line]:
    """The decisions in force, oldest first, or those that stood at a time (a bare date means its end, UTC)."""
    lines = in_force(_settled(root, system))
    if as_of is None:
        return lines
    moment = stamp(parse_when(as_of))
    return [line for line in lines if line.when <= moment]


def champion_at(root: Path, system: str, when: str | datetime | None = None) -> Line | None:
    """The line that made the champion of that time (default: now), None before the first."""
    return standing(history(root, system, when))


def standing(lines: list[Line]) -> Line | None:
    """The last line that moved the champion."""
    moved = [line for line in lines if CHAMPION in line.moves]
    return moved[-1] if moved else None


def rolled_back(lines: list[Line], digest: str) -> Line | None:
    """The rollback that took the model with this digest from the champion's place, unless it was put back since."""
    verdict = None
    digests = {line.version: line.digest for line in lines}
    for line in lines:
        if CHAMPION not in line.moves:
            continue
        left, _ = line.moves[CHAMPION]
        if line.digest == digest:
            verdict = None
        elif line.action == "rollback" and left is not None and digests.get(left) == digest:
            verdict = line
    return verdict


def verify(root: Path, system: str) -> list[str]:
    """What is wrong with the table or the aliases, in words; empty when all is well.

    What a rollback has put on record as repaired (its evidence `repairs`) is not told again.
    """
    lines, store = _settled(root, system), store_of(root)
    if not exists(store.registry):
        return []
    with opened(store) as client:
        return _problems(client, system, lines)


def parse_when(text: str | datetime) -> datetime:
    """An ISO date (its last moment) or time; without a zone it is UTC. Raises UsageError."""
    if isinstance(text, datetime):
        return text if text.tzinfo else text.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is no time", do="write 2026-05-31 or 2026-05-31T12:00:00+02:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        moment += timedelta(days=1) - timedelta(microseconds=1)
    return moment


@contextmanager
def exclusive(root: Path, system: str) -> Iterator[None]:
    """Hold this project's promotion lock for a system; reentrant within a thread.

    It spares writers on one machine deciding twice; what keeps the ledger right is the table, not the lock.
    """
    from filelock import FileLock, Timeout

    path = root.resolve() / ".work" / "promotion" / f"{check_system(system)}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_SECONDS, is_singleton=True):
            yield
    except Timeout:
        raise StageError(
            f"Another promotion of {system} has been running for {LOCK_SECONDS // 60} minutes",
            where=str(path),
            do="wait for it or end it",
        ) from None


def actor() -> str:
    """Who acts: GENWORKS_ACTOR (a CI job, a service), else user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return os.environ.get("GENWORKS_ACTOR") or f"{user}@{socket.gethostname()}"


def _append(
    store: Store,
    found: Version,
    action: str,
    decide: Callable[[Any, list[Line]], Moves],
    evidence: dict[str, Any],
    reason: str,
    seen: int | None,
) -> Line:
    system = found.name
    with exclusive(store.root, system), opened(store) as client:
        for attempt in range(_ATTEMPTS):
            lines = _follow(client, system)
            if action == "promote" and (problems := _problems(client, system, lines)):
                raise _broken(store, system, problems)
            counting = in_force(lines)
            last = counting[-1].seq if counting else 0
            if seen is not None and seen != last:
                raise StageError(
                    f"Another decision on {system} was recorded meanwhile (line {last}; this one took {seen} into account)",
                    where=shown(store.registry),
                    do="run again",
                )
            line = append(client, _new_line(found, action, decide(client, counting), evidence, reason, counting), found)
            written = [one for one in in_force(_follow(client, system)) if one.seq == line.seq]
            if written:
                return written[0]
            time.sleep(random.uniform(0.05, 0.4) * (attempt + 1))
    raise StageError(
        f"Other promotions of {system} keep getting ahead", where=shown(store.registry), do="run again in a minute"
    )


def _new_line(
    found: Version, action: str, moves: Moves, evidence: dict[str, Any], reason: str, lines: list[Line]
) -> Line:
    last = lines[-1] if lines else None
    now = stamp(datetime.now(UTC))
    return Line(
        seq=0,
        after=last.seq if last else 0,
        when=max(now, last.when) if last else now,  # a clock set back must not put a line before the one it follows
        who=actor(),
        action=action,
        system=found.name,
        version=found.version,
        digest=found.digest,
        moves=moves,
        data=found.data,
        code=found.commit,
        evidence=json.loads(json.dumps(evidence)),  # as it will be read: tuples are lists
        reason=reason,
    )


def _predecessor(lines: list[Line], version: int) -> int | None:
    """The champion before `version` when that was last promoted."""
    made = [one for one in lines if one.action == "promote" and one.moves.get(CHAMPION, (None, None))[1] == version]
    return made[-1].moves[CHAMPION][0] if made else None


def _settled(root: Path, system: str) -> list[Line]:
    """The lines, after the aliases have followed a move that was interrupted (if any)."""
    store = store_of(root)
    if not exists(store.registry):  # opening it would create it
        return []
    with opened(store) as client:
        return _follow(client, system)


def _standing(lines: list[Line]) -> dict[str, int | None]:
    """Where the aliases belong."""
    expected: dict[str, int | None] = {CHAMPION: None, PREVIOUS: None}
    for line in in_force(lines):
        expected |= {alias: to for alias, (_, to) in line.moves.items()}
    return expected


def _follow(client: Any, system: str) -> list[Line]:
    """The lines; if the aliases have not followed the last move yet, they do so now.

    Whoever does it does the same, so it may be done twice and late. After each time the table is read again: a writer that
    slept in between sees the move that overtook it and sets the aliases by that one.
    """
    lines, followed = read(client, system), None
    while (last := standing(in_force(lines))) and (not last.applied if followed is None else last.seq != followed):
        _point_aliases(client, system, _standing(lines))
        mark_applied(client, last)
        lines, followed = read(client, system), last.seq
    return lines


def _point_aliases(client: Any, system: str, wanted: dict[str, int | None]) -> None:
    """Champion last: whoever sees the new champion sees the right `previous` too."""
    now = aliases(client, system)
    for alias, to in sorted(wanted.items(), reverse=True):
        if now.get(alias) == to:
            continue
        if to is None:
            client.delete_registered_model_alias(system, alias)
        elif _exists(client, system, to):  # if not, the alias stays, and `verify` says so
            client.set_registered_model_alias(system, alias, str(to))


def _problems(client: Any, system: str, lines: list[Line]) -> list[str]:
    repaired = {problem for line in in_force(lines) for problem in line.evidence.get("repairs", [])}
    found = [one for one in table_problems(lines, head(client, system)) if one not in repaired]
    now = aliases(client, system)
    return found + [
        f"alias '{alias}' points to {_named(now.get(alias))}, the ledger says {_named(to)}"
        for alias, to in _standing(lines).items()
        if now.get(alias) != to
    ]


def _named(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"


def _exists(client: Any, system: str, version: int) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(system, str(version))
        return True
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
            return False
        raise


def _broken(store: Store, system: str, problems: list[str]) -> StageError:
    return StageError(
        f"The ledger of {system} disagrees with the registry: {'; '.join(problems[:5])}",
        where=shown(store.registry),
        do=f"somebody changed it outside genworks; `genworks rollback {system} --to VERSION` sets it right, on the record",
    )
