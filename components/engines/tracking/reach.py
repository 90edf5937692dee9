"""Whether a tracking store can be reached, asked before MLflow does (which retries for minutes), and words for why not."""

from __future__ import annotations

import http.client
import os
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path

from components.engines.base.errors import GenworksError, StageError, UsageError
from components.engines.tracking.addresses import database_file, hidden, shown

BUSY_SECONDS = 10.0  # how long a database that somebody else writes to is waited for
CONNECT_SECONDS = 5  # how long a server may take to answer


def probe(uri: str, patience: float | None = None) -> None:
    """Raise GenworksError unless the store at `uri` answers; a locked SQLite is waited for `patience` seconds."""
    if uri.startswith("sqlite:"):
        _probe_sqlite(uri, BUSY_SECONDS if patience is None else patience)
    elif uri.startswith(("http://", "https://")):
        _probe_http(uri)
    elif "://" in uri and not uri.startswith(("file:", "databricks")):
        _probe_database(uri)


def _probe_sqlite(uri: str, patience: float) -> None:
    """Take and release the write lock: says at once, or after a bounded wait, whether the database can be used.

    One that may not be written (somebody else's project) is only read: looking at it needs no more.
    """
    path = database_file(uri) or Path(uri)
    begin = "BEGIN" if path.exists() and not os.access(path, os.W_OK) else "BEGIN IMMEDIATE"
    if not path.parent.is_dir():
        raise UsageError("The folder of the tracking database does not exist", where=str(path), do="create it")
    try:
        connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
        try:
            connection.execute(begin)
            connection.execute("SELECT count(*) FROM sqlite_master")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise explain_database(str(error), str(path), patience) from error


def _probe_http(uri: str) -> None:
    try:  # urllib takes a login for a part of the host's name
        urllib.request.urlopen(f"{shown(uri).rstrip('/')}/health", timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # somebody answers; whether it is MLflow and lets us in, its own calls will tell
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _unreachable(uri, hidden(str(getattr(error, "reason", error)), uri)) from error


def _probe_database(uri: str) -> None:
    import sqlalchemy

    try:
        timeout = {"connect_timeout": CONNECT_SECONDS} if uri.startswith(("postgresql", "mysql")) else {}
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool, connect_args=timeout)
        engine.connect().close()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The driver of the tracking database is missing: {error.name}",
            where=shown(uri),
            do="pip install 'genworks[postgres]' (or the driver of your database)",
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = hidden(str(getattr(error, "orig", None) or error), uri)
        raise _unreachable(uri, reason.splitlines()[0]) from error


def explained(error: Exception, tracking: str, registry: str) -> GenworksError | None:
    """Words for failures of MLflow, its database and its server; None for what is none of theirs."""
    import requests
    import sqlalchemy
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException | sqlalchemy.exc.SQLAlchemyError | requests.RequestException):
        return None
    text = hidden(str(error), tracking, registry)
    if "API request to" in text or isinstance(error, requests.RequestException):
        return _unreachable(tracking, text.split("\n")[0])
    return explain_database(text, shown(tracking))


def _unreachable(uri: str, reason: object) -> GenworksError:
    return StageError(
        f"The tracking server cannot be reached: {reason}",
        where=shown(uri),
        do="start it, or correct MLFLOW_TRACKING_URI (unset, genworks uses SQLite in the project)",
    )


def explain_database(text: str, where: str, patience: float | None = None) -> GenworksError:
    """What a database's own words mean, with what to do about it."""
    low = text.lower()
    if "database is locked" in low or "database table is locked" in low:
        return StageError(
            f"The tracking database is locked by another process (waited {BUSY_SECONDS if patience is None else patience:g} s)",
            where=where,
            do=f"end what holds it (fuser {where} names it) or wait for it, then run again",
        )
    if "out-of-date database schema" in low or "can't locate revision" in low:
        return UsageError(
            "The tracking database has the schema of another MLflow version",
            where=where,
            do="back it up, then: mlflow db upgrade URI; or install the MLflow that made it",
        )
    if "not a database" in low or "malformed" in low:
        return UsageError(
            "The tracking database is damaged or no SQLite file", where=where, do="restore it, or move it away"
        )
    if "readonly" in low or "unable to open" in low:
        return UsageError("The tracking database cannot be written", where=where, do="check owner, mode and disk")
    if "disk is full" in low or "no space left" in low:
        return StageError("The disk of the tracking database is full", where=where, do="free some space and run again")
    lines = text.strip().splitlines()
    return StageError(f"MLflow refused: {lines[0] if lines else 'no reason given'}", where=where)
