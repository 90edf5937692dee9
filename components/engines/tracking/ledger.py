"""Who moved which alias, when, to what, on what evidence: an append-only chain that lives with the registry.

Each line is one MLflow run of experiment `<system>-ledger`, its content in tags, so that SQLite, PostgreSQL and a remote
server serve alike. A line is written as an *intent*, then the aliases move, then the line is *closed*; closing seals the
line with a hash, and the next line names that seal. So

- a move that was interrupted leaves an open line, which the next access completes or declares failed;
- a changed, removed or inserted line breaks the chain, and an alias moved by other means disagrees with it (`verify`);
- two writers that meet see each other's line of the same number, both withdraw (`void`) and try again.

Nothing outside this module sets an alias.
"""

from __future__ import annotations

import getpass
import json
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import EllipsisType
from typing import Any

import psutil

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_value
from components.engines.tracking.chain import (
    CHAMPION,
    GENESIS,
    PREVIOUS,
    Line,
    Moves,
    alias_problems,
    chain_of,
    chain_problems,
    stamp,
)
from components.engines.tracking.ledger_runs import close, read, write
from components.engines.tracking.registry import Version, aliases
from components.engines.tracking.store import Store, get_or_create_experiment, opened, shown, store_of

LOCK_SECONDS = 1800  # a gate that judges holds the lock; another one waits for it so long
OPEN_SECONDS = 60  # an intent older than this belongs to nobody any more: moving two aliases takes a second
_ATTEMPTS = 6
_HEAD = "genworks.ledger.head"  # tag of the registered model: cutting lines off the end shows


def move(
    root: Path,
    found: Version,
    action: str,
    *,
    evidence: dict[str, Any],
    reason: str = "",
    expected: int | EllipsisType | None = ...,
) -> Line:
    """Make `found` the champion, on the record. The only way an alias moves.

    `promote` leaves the old champion as `previous`; `rollback` leaves the one that stood before the version rolled back
    to, so that a second rollback goes further back. `expected` is the champion the decision was made against: if another
    one stands by now, StageError. Raises StageError too when the chain is broken.
    """
    store = store_of(root)

    def decide(client: Any, lines: list[Line]) -> Moves:
        now = aliases(client, found.name)
        if expected is not ... and now.get(CHAMPION) != expected:
            raise StageError(
                f"The champion of {found.name} is version {now.get(CHAMPION)} now; this was judged against {expected}",
                where=shown(store.registry),
                do="run again",
            )
        old = now.get(CHAMPION)
        behind = old if action == "promote" else _predecessor(lines, found.version)
        if behind is not None and not _exists(client, found.name, behind):
            behind = None
        return {CHAMPION: (old, found.version), PREVIOUS: (now.get(PREVIOUS), behind)}

    # a rollback also repairs what was moved behind our back, on the record
    return _append(store, found, action, decide, evidence, reason, check_aliases=action != "rollback")


def note(root: Path, found: Version, action: str, *, evidence: dict[str, Any], reason: str = "") -> Line:
    """Put a decision on record that moves nothing: `refuse`, `dry-run`."""
    return _append(store_of(root), found, action, lambda *_: {}, evidence, reason, check_aliases=False)


def history(root: Path, system: str, as_of: str | datetime | None = None) -> list[Line]:
    """All closed lines, oldest first, or those that stood at a time (a bare date means its end, UTC)."""
    lines = [line for line in _settled(root, system) if line.state in {"done", "failed"}]
    if as_of is None:
        return lines
    moment = stamp(parse_when(as_of))
    return [line for line in lines if line.closed <= moment]


def champion_at(root: Path, system: str, when: str | datetime | None = None) -> Line | None:
    """The line that made the champion of that time (default: now), None before the first."""
    return standing(history(root, system, when))


def standing(lines: list[Line]) -> Line | None:
    """The last line that moved the champion."""
    moved = [line for line in lines if line.state == "done" and CHAMPION in line.moves]
    return moved[-1] if moved else None


def rolled_back(lines: list[Line], digest: str) -> Line | None:
    """The rollback that took the model with this digest from the champion's place, unless it was put back since."""
    verdict = None
    digests = {line.version: line.digest for line in lines if line.state == "done"}
    for line in lines:
        if line.state != "done" or CHAMPION not in line.moves:
            continue
        left, _ = line.moves[CHAMPION]
        if line.digest == digest:
            verdict = None
        elif line.action == "rollback" and left is not None and digests.get(left) == digest:
            verdict = line
    return verdict


def verify(root: Path, system: str) -> list[str]:
    """What is wrong with the chain or the aliases, in words; empty when all is well."""
    lines = _settled(root, system)
    with opened(store_of(root)) as client:
        return chain_problems(lines, _head(client, system)) + alias_problems(lines, aliases(client, system))


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
    """Hold this project's promotion lock for a system; reentrant within a thread."""
    from filelock import FileLock, Timeout

    path = root.resolve() / ".work" / "promotion" / f"{system}.lock"
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


def _append(
    store: Store,
    found: Version,
    action: str,
    decide: Any,
    evidence: dict[str, Any],
    reason: str,
    *,
    check_aliases: bool,
) -> Line:
    system = found.name
    with exclusive(store.root, system), opened(store) as client:
        experiment = get_or_create_experiment(client, store, f"{system}-ledger")
        for attempt in range(_ATTEMPTS):
            lines = _settle(client, experiment, system)
            problems = chain_problems(lines, _head(client, system))
            if check_aliases:
                problems += alias_problems(lines, aliases(client, system))
            if problems:
                raise _broken(store, system, problems)
            chain = chain_of(lines)
            line = _new_line(found, action, decide(client, chain), evidence, reason, chain)
            line = write(client, experiment, line)
            others = [other for other in read(client, experiment) if other.run_id != line.run_id]
            if not any(other.seq == line.seq and other.state != "void" for other in others):
                _move_aliases(client, system, line.moves)
                line = close(client, line, "done")
                client.set_registered_model_tag(system, _HEAD, str(line.seq))
                return line
            close(client, line, "void", "two promotions at once")
            time.sleep(random.uniform(0.05, 0.4) * (attempt + 1))
    raise StageError(
        f"Other promotions of {system} keep getting ahead", where=shown(store.tracking), do="run again in a minute"
    )


def _new_line(
    found: Version, action: str, moves: Moves, evidence: dict[str, Any], reason: str, chain: list[Line]
) -> Line:
    last = chain[-1] if chain else None
    now = datetime.now(UTC)
    if last is not None:  # a clock set back must not put a line before the one it follows
        now = max(now, datetime.fromisoformat(last.closed))
    line = Line(
        seq=last.seq + 1 if last else 1,
        when=stamp(now),
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
        process=f"{socket.gethostname()}:{os.getpid()}",
        previous=last.seal if last else GENESIS,
    )
    return replace(line, hash=digest_value(line.content()))


def actor() -> str:
    """Who acts: GENWORKS_ACTOR (a CI job, a service), else user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return os.environ.get("GENWORKS_ACTOR") or f"{user}@{socket.gethostname()}"


def _predecessor(lines: list[Line], version: int) -> int | None:
    """The champion before `version` when that was last promoted."""
    made = [line.moves[CHAMPION][0] for line in lines if _made_champion(line, version) and line.action == "promote"]
    return made[-1] if made else None


def _made_champion(line: Line, version: int) -> bool:
    return line.state == "done" and CHAMPION in line.moves and line.moves[CHAMPION][1] == version


def _move_aliases(client: Any, system: str, moves: Moves) -> None:
    """Champion last: whoever sees the new champion sees the right `previous` too."""
    for alias in sorted(moves, reverse=True):
        to = moves[alias][1]
        if to is not None:
            client.set_registered_model_alias(system, alias, str(to))
        elif alias in aliases(client, system):
            client.delete_registered_model_alias(system, alias)


def _head(client: Any, system: str) -> int:
    from mlflow.exceptions import MlflowException

    try:
        return int(client.get_registered_model(system).tags.get(_HEAD, "0"))
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
            return 0
        raise


def _settled(root: Path, system: str) -> list[Line]:
    """The lines, after an interrupted move (if any) has been completed or declared failed."""
    store = store_of(root)
    with opened(store) as client:
        experiment = client.get_experiment_by_name(f"{system}-ledger")
        if experiment is None:
            return []
        lines = read(client, experiment.experiment_id)
        if not _open_lines(lines):
            return lines
        with exclusive(root, system):
            return _settle(client, experiment.experiment_id, system)


def _settle(client: Any, experiment: str, system: str) -> list[Line]:
    """Close open lines: complete the move if the aliases are still where it left them, else call it failed.

    A line whose writer is alive is waited for. The caller holds the promotion lock.
    """
    while True:
        lines = read(client, experiment)
        waiting = _open_lines(lines)
        abandoned = [line for line in waiting if _abandoned(line)]
        if not waiting:
            return lines
        for line in abandoned:
            _finish_interrupted(client, system, line, lines)
        if not abandoned:
            time.sleep(0.5)


def _open_lines(lines: list[Line]) -> list[Line]:
    """Lines to be finished. One that somebody changed is not: `verify` reports it, nothing acts on it."""
    return [line for line in lines if line.state == "open" and line.intact and not line.deleted]


def _abandoned(line: Line) -> bool:
    host, _, pid = line.process.rpartition(":")
    if host == socket.gethostname():
        if int(pid) == os.getpid():  # we hold the lock and write no line now, so this one failed earlier
            return True
        if not psutil.pid_exists(int(pid)):
            return True
    return datetime.now(UTC) - datetime.fromisoformat(line.when) > timedelta(seconds=OPEN_SECONDS)


def _finish_interrupted(client: Any, system: str, line: Line, lines: list[Line]) -> None:
    if any(other.seq == line.seq and other.state in {"done", "failed"} for other in lines):
        close(client, line, "void", "interrupted; another line took its place")
        return
    now = aliases(client, system)
    if any(now.get(alias) not in pair for alias, pair in line.moves.items()):
        close(client, line, "failed", "interrupted; the aliases have moved elsewhere since")
    elif any(to is not None and not _exists(client, system, to) for _, to in line.moves.values()):
        close(client, line, "failed", "interrupted; its version is gone")
    else:
        _move_aliases(client, system, line.moves)
        close(client, line, "done", "interrupted, completed on the next access" if line.moves else "interrupted")


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
    chained = [problem for problem in problems if not problem.startswith("alias")]
    do = (
        f"restore the tracking database from a backup; experiment {system}-ledger must not be edited"
        if chained
        else f"somebody moved it outside genworks; `genworks rollback {system} --to VERSION` sets it on the record"
    )
    return StageError(
        f"The ledger of {system} cannot be trusted: {'; '.join(problems[:5])}", where=shown(store.tracking), do=do
    )
