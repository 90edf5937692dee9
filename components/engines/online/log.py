"""The event log: append-only, each event once, read as a stream, forgotten by user.

An event that was forgotten leaves an empty row under the digest of its id, so that a sender who tries again does not bring it
back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from components.engines.online.database import METADATA, Database, Numbered, insert_for
from components.engines.online.events import SOURCE, Event, key

PAGE = 500  # rows a statement: what reading holds in memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_events = sa.Table(
    "events",
    METADATA,
    sa.Column("number", Numbered, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("id", sa.String(200)),
    sa.Column("source", sa.String(200)),
    sa.Column("type", sa.String(200)),
    sa.Column("subject", sa.String(200)),
    sa.Column("time_us", sa.BigInteger),  # since 1970, UTC
    sa.Column("data", sa.JSON),
    sa.Index("events_of_type", "type", "number"),
    sa.Index("events_of_subject", "subject", "number"),
    sa.Index("events_at", "time_us"),
)
_ERASED = dict.fromkeys(("id", "source", "type", "subject", "time_us"), None) | {"data": sa.null()}


class EventLog:
    """`append`, `read`, `find`, `forget`; several processes may do all of it at once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def append(self, events: Iterable[Event]) -> int:
        """Add those that are not there yet, all or none of them; how many were new.

        When it returns they are on disk. After a failure it may be called again with the same events.
        """
        first: dict[str, dict[str, Any]] = {}
        for one in events:
            first.setdefault(one.key, _row(one))
        rows = list(first.values())
        if not rows:
            return 0
        with self.database.writing() as connection:
            statement = insert_for(connection)(_events).on_conflict_do_nothing(index_elements=["key"])
            return len(connection.execute(statement.returning(_events.c.number), rows).all())

    def read(
        self,
        *,
        types: Iterable[str] = (),
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
    ) -> Iterator[tuple[int, Event]]:
        """Events with their numbers, in the order in which they were appended, a page in memory at a time.

        `since` ≤ time < `until`; `after` is the number of the last one that was read before. No event appears later below a
        number that has been read.
        """
        wanted: list[sa.ColumnElement[bool]] = [_events.c.type.isnot(None)]  # not forgotten
        if named := list(types):
            wanted.append(_events.c.type.in_(named))
        if subject is not None:
            wanted.append(_events.c.subject == subject)
        if since is not None:
            wanted.append(_events.c.time_us >= _microseconds(since))
        if until is not None:
            wanted.append(_events.c.time_us < _microseconds(until))
        while True:
            page = sa.select(_events).where(_events.c.number > after, *wanted).order_by(_events.c.number).limit(PAGE)
            with self.database.reading() as connection:  # a transaction a page: nobody waits for a slow reader
                rows = connection.execute(page).all()
            yield from ((row.number, _event(row)) for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1].number

    def find(self, id: str, source: str = SOURCE) -> Event | None:
        """The event of this id, None if there is none or it was forgotten."""
        wanted = sa.select(_events).where(_events.c.key == key(id, source), _events.c.type.isnot(None))
        with self.database.reading() as connection:
            row = connection.execute(wanted).one_or_none()
        return _event(row) if row is not None else None

    def forget(self, subject: str) -> int:
        """Remove every event of a subject from the tables, indexes and files; how many there were."""
        with self.database.writing() as connection:
            erased = connection.execute(sa.update(_events).where(_events.c.subject == subject).values(_ERASED)).rowcount
        self.database.purge()
        return erased

    def drop(self, upto: int) -> None:
        """Remove events up to this number with their digests: of a spool, whose events are elsewhere by now."""
        with self.database.writing() as connection:
            connection.execute(sa.delete(_events).where(_events.c.number <= upto))
        self.database.purge()


def _row(event: Event) -> dict[str, Any]:
    return {
        "key": event.key,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time_us": _microseconds(event.time),
        "data": event.data,
    }


def _event(row: Any) -> Event:
    time = _EPOCH + timedelta(microseconds=row.time_us)
    known = {"id": row.id, "source": row.source, "type": row.type, "subject": row.subject}
    return Event.model_construct(**known, time=time, data=row.data)  # it was checked on its way in


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
