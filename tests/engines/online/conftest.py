"""Each test on SQLite, and on a Postgres of the session's own where its binaries are installed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from components.engines.online.database import Database
from tests.postgres_server import postgres_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    """The address of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'online.db'}"
    return request.getfixturevalue("postgres").url(f"online{next(_numbers)}")


@pytest.fixture
def database(url) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()
