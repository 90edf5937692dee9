"""Events of a server on their way to the log: many threads hand them in, one writes them in groups.

The log never holds up an answer for long: what its database does not take waits in a spool (SQLite, on this disk) and is written
when the database is back, in order and once. A killed server's spool is written by the next one.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from components.engines.base.errors import GenworksError
from components.engines.online.database import Database, database_url
from components.engines.online.events import Event
from components.engines.online.log import EventLog

log = logging.getLogger("genworks")

SPOOL = "online-spool.db"
PATIENCE_SECONDS = 5.0  # for a database that another process writes to
RETRY_SECONDS = 2.0
GROUP = 500  # events a commit


@dataclass
class _Handed:
    """Events to write, or something to do when those before are written."""

    done: Future[Any]
    events: list[Event] = field(default_factory=list)
    task: Callable[[], Any] | None = None


class Recorder:
    """`add` returns at once; its future is done when the events are on disk, in the log or in the spool.

    `waiting` says why events wait in the spool, None where none do; `lost` counts events that neither took (a full disk).
    """

    def __init__(self, events: EventLog, spool: EventLog, *, retry_s: float = RETRY_SECONDS) -> None:
        self.events, self.spool, self.lost = events, spool, 0
        self.waiting: str | None = "left by a server that ended" if next(spool.read(), None) else None
        self._retry_s, self._tried = retry_s, -retry_s
        self._handed: queue.Queue[_Handed | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write_all, name="event-log", daemon=True)
        self._thread.start()

    @classmethod
    def of_project(cls, root: Path) -> Recorder:
        """On the project's database, with the spool beside it. Raises GenworksError where that cannot be used."""
        spool = Database(sa.URL.create("sqlite", database=str(root / SPOOL)), patience_s=PATIENCE_SECONDS)
        return cls(EventLog(Database(database_url(root), patience_s=PATIENCE_SECONDS)), EventLog(spool))

    def add(self, *events: Event) -> Future[None]:
        """The future raises only where the events are lost."""
        return self._hand(_Handed(Future(), list(events)))

    def forget(self, subject: str) -> Future[int]:
        """Remove a subject's events, those on their way included. The future raises StageError while the database is away."""

        def everywhere() -> int:
            self._unspool()
            return self.events.forget(subject)

        return self._hand(_Handed(Future(), task=everywhere))

    def find(self, id: str) -> Event | None:
        """The event of this id, in the spool too. Raises StageError if it is not there and the database is away."""
        found = self.spool.find(id) if self.waiting is not None else None
        return found or self.events.find(id)

    def close(self) -> None:
        """Write what was handed in and end."""
        self._handed.put(None)
        self._thread.join()
        for each in (self.events, self.spool):
            each.database.close()

    def _hand(self, handed: _Handed) -> Future[Any]:
        self._handed.put(handed)
        return handed.done

    def _write_all(self) -> None:
        ended = False
        while not ended:
            group: list[_Handed] = []
            try:
                one = self._handed.get(timeout=None if self.waiting is None else self._retry_s)
                while one is not None:
                    group.append(one)
                    if one.task is not None or sum(len(handed.events) for handed in group) >= GROUP:
                        break
                    one = self._handed.get_nowait()
                ended = one is None
            except queue.Empty:
                pass
            self._settle([handed for handed in group if handed.task is None], self._write)
            for handed in group:
                if handed.task is not None:
                    self._settle([handed], lambda _, task=handed.task: task())  # type: ignore[misc]
            self._retry()

    def _settle(self, group: list[_Handed], do: Callable[[list[Event]], Any]) -> None:
        try:
            result = do([event for handed in group for event in handed.events])
            for handed in group:
                handed.done.set_result(result)
        except Exception as error:  # of whoever waits for it; the thread goes on
            for handed in group:
                handed.done.set_exception(error)

    def _write(self, events: list[Event]) -> None:
        if self.waiting is None:
            try:
                self.events.append(events)
                return
            except GenworksError as error:
                self.waiting, self._tried = str(error), time.monotonic()
                log.warning("events wait in %s: %s", self.spool.database.where, error)
        try:
            self.spool.append(events)
        except Exception:
            self.lost += len(events)
            log.exception("%d events are lost", len(events))
            raise

    def _retry(self) -> None:
        if self.waiting is not None and time.monotonic() - self._tried >= self._retry_s:
            try:
                self._unspool()
            except GenworksError as error:
                self.waiting = str(error)
            self._tried = time.monotonic()

    def _unspool(self) -> None:
        """Write the spool's events to the log. Killed in between, it is done again, and the log has each once."""
        while page := list(itertools.islice(self.spool.read(), GROUP)):
            self.events.append(event for _, event in page)
            self.spool.drop(page[-1][0])
        if self.waiting is not None:
            log.warning("events wait no longer")
        self.waiting = None
