"""Sessions: what users and a system have said to each other, kept until they are deleted.

A session belongs to a user, and its name means nothing to others. It is a row of exchanges: what was asked, and the answer once
there is one. An exchange has a key of the asker's: asking again with the same key is the same exchange, and its first answer
stands. One that a kill left without an answer stays without, until it is asked again; nothing stands in for the answer.

Unlike the event log, sessions hold texts as they were said. Deleting takes them out of the files (`Database.purge`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from components.engines.online.database import METADATA, Database, Numbered, insert_for

PAGE = 500
LONGEST_NAME = 200
CUT_SHORT = "cut short"  # why an answer ended whose reader went away

_exchanges = sa.Table(
    "exchanges",
    METADATA,
    sa.Column("number", Numbered, primary_key=True, autoincrement=True),
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("session", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("key", sa.String(200), nullable=False),
    sa.Column("asked", sa.JSON, nullable=False),  # messages
    sa.Column("answer", sa.Text),
    sa.Column("answer_id", sa.String(200)),
    sa.Column("finish", sa.String(20)),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("subject", "session", "key"),
    sa.Index("exchanges_of_session", "subject", "session", "number"),
)


@dataclass(frozen=True)
class Exchange:
    """`asked` are messages (`role`, `content`); `answer` is None while there is none, `finish` says why it ended there.

    `answer_id` is what feedback refers to.
    """

    number: int
    key: str
    asked: list[dict[str, Any]]
    answer: str | None
    answer_id: str | None
    finish: str | None

    @property
    def is_answered(self) -> bool:
        """Whether asking again gives this answer; one that was cut short is made anew."""
        return self.answer is not None and self.finish != CUT_SHORT

    @property
    def messages(self) -> list[dict[str, Any]]:
        """As the next answer sees it."""
        return [*self.asked, {"role": "assistant", "content": self.answer}]


class Sessions:
    """Several processes may write one session at once: exchanges stand in the order in which they were begun."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(self, user: str, session: str, key: str, asked: list[dict[str, Any]]) -> Exchange:
        """The exchange of this key, which is new, or was begun before (and perhaps answered)."""
        row = self._of(user, session) | {"key": key, "asked": asked, "time_us": time.time_ns() // 1000}
        with self.database.writing() as connection:
            named = ["subject", "session", "key"]
            connection.execute(
                insert_for(connection)(_exchanges).values(row).on_conflict_do_nothing(index_elements=named)
            )
            return _exchange(connection.execute(self._select(user, session).where(_exchanges.c.key == key)).one())

    def finish(self, user: str, session: str, key: str, answer: str, *, id: str, finish: str) -> Exchange | None:
        """Store the answer, unless there is a whole one; the exchange as it stands. None if it was deleted meanwhile."""
        said = {"answer": answer, "answer_id": id, "finish": finish}
        with self.database.writing() as connection:
            this = sa.update(_exchanges).where(*self._where(user, session), _exchanges.c.key == key)
            open_ = sa.or_(_exchanges.c.answer.is_(None), _exchanges.c.finish == CUT_SHORT)
            connection.execute(this.where(open_).values(said))
            found = connection.execute(self._select(user, session).where(_exchanges.c.key == key)).one_or_none()
        return _exchange(found) if found is not None else None

    def answered(self, user: str, session: str, *, most: int, before: int | None = None) -> list[Exchange]:
        """The last answered exchanges (before the one of this number), at most so many, the oldest first."""
        wanted = self._select(user, session).where(_exchanges.c.answer.isnot(None))
        if before is not None:
            wanted = wanted.where(_exchanges.c.number < before)
        with self.database.reading() as connection:
            rows = connection.execute(wanted.order_by(_exchanges.c.number.desc()).limit(most)).all()
        return [_exchange(row) for row in reversed(rows)]

    def read(self, user: str, session: str, *, after: int = 0) -> Iterator[Exchange]:
        """A session in order, from what follows the exchange of that number; a page in memory at a time."""
        while True:
            page = (
                self._select(user, session).where(_exchanges.c.number > after).order_by(_exchanges.c.number).limit(PAGE)
            )
            with self.database.reading() as connection:
                rows = connection.execute(page).all()
            yield from map(_exchange, rows)
            if len(rows) < PAGE:
                return
            after = rows[-1].number

    def names(self, user: str) -> list[str]:
        """A user's sessions, by name."""
        mine = sa.select(_exchanges.c.session).where(_exchanges.c.subject == self.database.pseudonym(user))
        with self.database.reading() as connection:
            return sorted(connection.execute(mine.distinct()).scalars())

    def delete(self, user: str, session: str | None = None) -> int:
        """Remove a session, or all of a user's, from the tables and files; how many exchanges there were."""
        where = (
            [_exchanges.c.subject == self.database.pseudonym(user)] if session is None else self._where(user, session)
        )
        with self.database.writing() as connection:
            gone = connection.execute(sa.delete(_exchanges).where(*where)).rowcount
        self.database.purge()
        return gone

    def _of(self, user: str, session: str) -> dict[str, Any]:
        return {"subject": self.database.pseudonym(user), "session": session}

    def _where(self, user: str, session: str) -> list[Any]:
        return [_exchanges.c[name] == value for name, value in self._of(user, session).items()]

    def _select(self, user: str, session: str) -> Any:
        return sa.select(_exchanges).where(*self._where(user, session))


def _exchange(row: Any) -> Exchange:
    return Exchange(row.number, row.key, row.asked, row.answer, row.answer_id, row.finish)
