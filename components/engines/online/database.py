"""The database of events and sessions: SQLite in the project, or the one that GENWORKS_DATABASE_URL names.

Several processes may write at once. SQLite keeps a write-ahead log, a writer takes its lock at the start of its transaction (so
that it waits for another instead of failing), each commit reaches the disk, and what is deleted is overwritten. Postgres does
the same by itself, but for the overwriting: there `purge` vacuums the tables.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from components.engines.base.errors import GenworksError, StageError, UsageError
from components.engines.tracking.addresses import checked, hidden, shown

URL = "GENWORKS_DATABASE_URL"
FILE = "online.db"
BUSY_SECONDS = 30.0  # how long a writer waits for another, where nobody says otherwise
CONNECT_SECONDS = 5
_POLL_SECONDS = 0.02
_SCHEMA_LOCK = 0x67656E77  # of Postgres' advisory locks, any number: one process at a time creates tables

METADATA = sa.MetaData()
_secrets = sa.Table(
    "online_secrets",
    METADATA,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)
Numbered = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # what SQLite counts up by itself


def database_url(root: Path) -> str | sa.URL:
    """Where this project keeps events and sessions. A relative SQLite file is one of the project."""
    told = os.environ.get(URL)
    if not told:
        return sa.URL.create("sqlite", database=str(root / FILE))
    url = sa.make_url(checked(told, URL))
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(root / url.database))
    return url


class DatabaseAway(StageError):
    """It does not answer, or somebody else holds it: what was asked may be asked again later."""


class DatabaseUnusable(UsageError):
    """It is damaged, or may not be written, or has no driver here."""


class Database:
    """An open database with its tables. Raises DatabaseUnusable or DatabaseAway, here and in all it does."""

    def __init__(self, url: str | sa.URL, *, patience_s: float = BUSY_SECONDS) -> None:
        self._url, self._patience_s = sa.make_url(url), patience_s
        self.where = shown(self._url.render_as_string(hide_password=True))
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        if not self.is_sqlite and self._url.get_backend_name() != "postgresql":
            raise DatabaseUnusable(
                f"Events and sessions are kept in SQLite or Postgres, not in {self._url.get_backend_name()}",
                where=URL,
                do="set sqlite:///FILE or postgresql://…, or unset it (a file in the project)",
            )
        with self._explained():
            self.engine = self._opened()
            with self.writing() as connection:
                METADATA.create_all(connection)
                self._salt = self._secret(connection, "salt")

    def _opened(self) -> sa.Engine:
        if not self.is_sqlite:
            return sa.create_engine(self._url, pool_pre_ping=True, max_overflow=20, connect_args=self._libpq_settings())
        file = Path(self._url.database or "")
        if not file.parent.is_dir():
            raise DatabaseUnusable("The folder of the database does not exist", where=str(file), do="create it")
        engine = sa.create_engine(self._url, connect_args={"timeout": self._patience_s})
        sa.event.listen(engine, "connect", _set_up)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def _libpq_settings(self) -> dict[str, Any]:
        """How long a server, a network or another writer is waited for."""
        if self._url.get_driver_name() not in ("psycopg2", "psycopg"):
            return {}
        alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 10_000}
        waits = f"-c lock_timeout={round(1000 * self._patience_s)}"
        return {"connect_timeout": CONNECT_SECONDS, "options": waits, **alive}

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that others' writes wait for; it is committed at the end, or nothing of it is."""
        with self._explained(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if not self.is_sqlite:  # as SQLite does it: numbers are given in the order of commits
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self._explained(), self.engine.connect() as connection, connection.begin():
            yield connection

    def pseudonym(self, user: str) -> str:
        """What stands for a user in the tables: the same for the same name, and no name can be read from it.

        The key lies in the database itself: rows that leave it (an export, a data set) name nobody.
        """
        return "user-" + hmac.new(self._salt, user.encode(), hashlib.sha256).hexdigest()[:32]

    def purge(self) -> None:
        """Take what was deleted out of the files: SQLite has overwritten it and forgets its log, Postgres vacuums.

        Raises DatabaseAway where somebody reads for so long that it cannot be done; it is done by the next call.
        """
        with self._explained():
            if not self.is_sqlite:
                with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("VACUUM")
                return
            deadline = time.monotonic() + self._patience_s
            while self._checkpoint_is_held_up():
                if time.monotonic() > deadline:
                    raise DatabaseAway(
                        "What was deleted is still in the write-ahead log: another process reads the database",
                        where=self.where,
                        do="end that process and delete again",
                    )
                time.sleep(_POLL_SECONDS)

    def _checkpoint_is_held_up(self) -> bool:
        connection = self.engine.raw_connection()  # outside a transaction, which it would wait for
        try:
            return bool(connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        finally:
            connection.close()

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ModuleNotFoundError as error:
            raise DatabaseUnusable(
                f"The driver of the database is missing: {error.name}",
                where=self.where,
                do="pip install 'genworks[postgres]'",
            ) from error
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            raise self._in_words(error) from error

    def _in_words(self, error: Exception) -> GenworksError:
        cause = getattr(error, "orig", None) or error
        lines = hidden(str(cause), self._url.render_as_string(hide_password=False)).strip().splitlines()
        low = lines[0].lower() if lines else ""
        if "not a database" in low or "malformed" in low:
            return DatabaseUnusable(
                "The database of events is damaged or no SQLite file", where=self.where, do="move it away"
            )
        if "readonly" in low or "unable to open" in low:
            do = "check owner, mode and disk"
            return DatabaseUnusable("The database of events cannot be written", where=self.where, do=do)
        if "locked" in low or "lock timeout" in low:
            what = f"Another process has held the database of events for {self._patience_s:g} s"
            return DatabaseAway(what, where=self.where, do="end it, or wait for it")
        do = "free some space" if self.is_sqlite else f"start it, or correct {URL}"
        return DatabaseAway(f"The database of events does not answer: {' '.join(lines[:1])}", where=self.where, do=do)

    @staticmethod
    def _secret(connection: sa.Connection, name: str) -> bytes:
        found = connection.execute(sa.select(_secrets.c.value).where(_secrets.c.name == name)).scalar()
        if found is None:
            found = secrets.token_hex(32)
            connection.execute(sa.insert(_secrets).values(name=name, value=found))
        return bytes.fromhex(found)


def insert_for(connection: sa.Connection) -> Any:
    """The dialect's own `insert`, which knows what to do where a row is there already."""
    from sqlalchemy.dialects import postgresql, sqlite

    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert


def _set_up(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:  # changing to WAL does not wait for others by itself
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
