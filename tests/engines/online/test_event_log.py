"""Each event once, in order, whoever writes and whoever is killed; forgotten means gone."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.engines.base.errors import StageError, UsageError
from components.engines.online import log as log_module
from components.engines.online.database import Database, DatabaseAway, database_url
from components.engines.online.events import Accepted, Shown, event
from components.engines.online.log import EventLog
from tests.engines.online.toy_writer import shown

REPOSITORY = Path(__file__).resolve().parents[3]
WRITER = [sys.executable, "-m", "tests.engines.online.toy_writer"]
FILES = itertools.count()
START = datetime(2026, 11, 27, tzinfo=UTC)


def writer(url, first, last, **more):
    command = [*WRITER, str(url), str(first), str(last)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, **more)


def ids(log, **wanted):
    return [one.id for _, one in log.read(**wanted)]


batches = st.lists(
    st.one_of(
        st.lists(st.integers(0, 12), max_size=6),  # events by number; the number decides the subject
        st.sampled_from(["forget 0", "forget 1", "forget 2"]),
    ),
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=batches)
def test_every_event_is_there_once_and_the_forgotten_never_come_back(tmp_path, steps):
    file = tmp_path / f"online-{next(FILES)}.db"
    database = Database(f"sqlite:///{file}")
    log, expected, seen = EventLog(database), [], set()
    for step in steps:
        if isinstance(step, str):
            gone = [number for number in expected if f"user-{number % 3}" == f"user-{step[-1]}"]
            assert log.forget(f"user-{step[-1]}") == len(gone)
            expected = [number for number in expected if number not in gone]
            assert f"user-{step[-1]}".encode() not in b"".join(f.read_bytes() for f in tmp_path.glob(f"{file.name}*"))
        else:
            new = [number for number in dict.fromkeys(step) if number not in seen]
            assert log.append(shown(number, f"user-{number % 3}") for number in step) == len(new)
            expected += new
            seen |= set(new)
        assert ids(log) == [f"e{number}" for number in expected]
    database.close()


def test_reading_by_type_subject_and_time_in_the_order_of_arrival(database, monkeypatch):
    monkeypatch.setattr(log_module, "PAGE", 7)
    log, made = EventLog(database), []
    for number in range(50):
        kind = (Shown, Accepted)[number % 2]
        data = kind(system="toy", version=1, answer=f"a{number}")
        at = START + timedelta(minutes=(number * 17) % 50)
        made.append(event(data, id=f"e{number}", subject=f"user-{number % 3}", time=at))
    assert log.append(made) == 50
    assert [one for _, one in log.read()] == made
    types = [Accepted.type]
    until = START + timedelta(minutes=40)
    since = START + timedelta(minutes=10)
    wanted = [
        one for one in made if one.type == Accepted.type and one.subject == "user-1" and since <= one.time < until
    ]
    assert [one for _, one in log.read(types=types, subject="user-1", since=since, until=until)] == wanted
    assert 0 < len(wanted) < 50
    half = list(itertools.islice(log.read(), 25))
    assert [one for _, one in log.read(after=half[-1][0])] == made[25:]
    assert log.find("e7") == made[7]
    assert log.find("e7", "urn:other") is None


def test_reading_takes_a_page_of_memory_not_the_log(database):
    log = EventLog(database)
    for start in range(0, 6_000, 2_000):
        log.append(shown(number) for number in range(start, start + 2_000))
    tracemalloc.start()
    count = sum(1 for _ in log.read())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 6_000
    assert peak < 4 * 2**20  # all of them take 10 MB


def test_processes_that_write_at_once_lose_and_double_nothing(url, database):
    started = [writer(url, first, first + 40) for first in (0, 20, 40)]  # most ids are written by two or three of them
    for process in started:
        told, _ = process.communicate(timeout=250)
        assert process.returncode == 0
        assert len(told.split()) == 40
    found = ids(EventLog(database))
    assert len(found) == len(set(found)) == 80


def test_what_was_said_to_be_written_survives_a_kill_and_is_not_doubled_by_a_second_try(url, database):
    log, generator = EventLog(database), random.Random(0)
    for start in (0, 1000, 2000):
        process = writer(url, start, start + 1000)
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(generator.randrange(1, 20))]
        time.sleep(generator.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait()
        found = ids(log)
        assert {f"e{number}" for number in told} <= set(found)
        assert len(found) == len(set(found))
        last = start + len(told)
        again = [shown(number) for number in range(start, last + 20)]
        assert log.append(again) in (19, 20)  # the kill may have fallen between the commit and its word
        assert ids(log)[-20:] == [f"e{number}" for number in range(last, last + 20)]


def test_a_reader_in_the_middle_holds_up_neither_writers_nor_forgetting(database, monkeypatch):
    monkeypatch.setattr(log_module, "PAGE", 10)
    log = EventLog(database)
    log.append(shown(number, f"user-{number % 2}") for number in range(40))
    reading = log.read()
    first = [next(reading)[1].id for _ in range(3)]
    assert log.append([shown(99, "user-0")]) == 1
    assert log.forget("user-1") == 20
    rest = [one.id for _, one in reading]
    assert first == ["e0", "e1", "e2"]
    assert rest[-1] == "e99"
    assert not [id for id in rest[8:] if int(id[1:]) % 2 and id != "e99"]  # a page was read before


def test_an_open_transaction_of_another_process_keeps_forgotten_bytes_and_that_is_said(tmp_path):
    url = f"sqlite:///{tmp_path / 'online.db'}"
    first, other = Database(url, patience_s=0.3), Database(url)
    log = EventLog(first)
    log.append([shown(1, "user-1")])
    with other.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("SELECT count(*) FROM events").scalar()
        with pytest.raises(StageError, match=r"still in the write-ahead log.*delete again"):
            log.forget("user-1")
        assert ids(log) == []
    assert log.forget("user-1") == 0
    assert b"user-1" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_users_have_one_pseudonym_in_every_process_and_it_says_nothing(url, database):
    other = Database(url)
    assert database.pseudonym("ann@example.org") == other.pseudonym("ann@example.org") != database.pseudonym("bob")
    assert "ann" not in database.pseudonym("ann@example.org")
    other.close()


def test_an_unusable_database_is_refused_in_words(tmp_path, monkeypatch):
    (tmp_path / "notes.db").write_text("these are notes, no database, and they are long enough to be looked at\n" * 9)
    with pytest.raises(UsageError, match=r"damaged or no SQLite file.*notes\.db"):
        Database(f"sqlite:///{tmp_path}/notes.db")
    with pytest.raises(UsageError, match="folder of the database does not exist"):
        Database(f"sqlite:///{tmp_path}/nowhere/online.db")
    with pytest.raises(UsageError, match="SQLite or Postgres, not in mysql"):
        Database("mysql://me:secret@db/online")
    with pytest.raises(StageError, match="does not answer") as raised:
        Database("postgresql+psycopg2://me:s3cret@127.0.0.1:1/online")
    assert "s3cret" not in str(raised.value)
    monkeypatch.setenv("GENWORKS_DATABASE_URL", "sqlite:///other.db")
    Database(database_url(tmp_path)).close()
    assert (tmp_path / "other.db").exists()
    monkeypatch.delenv("GENWORKS_DATABASE_URL")
    strange = tmp_path / "who?%41"
    strange.mkdir()
    Database(database_url(strange)).close()
    assert (strange / "online.db").exists()


def test_a_database_that_another_holds_is_said_after_the_patience(url):
    holder, database = Database(url), Database(url, patience_s=0.2)
    with holder.writing(), pytest.raises(DatabaseAway, match=r"held the database of events for 0\.2 s"):
        EventLog(database).append([shown(1)])
    assert EventLog(database).append([shown(1)]) == 1
    holder.close()
    database.close()


def test_connections_that_a_server_dropped_are_made_again(url, database):
    log = EventLog(database)
    log.append([shown(1)])
    if not database.is_sqlite:
        other = Database(url)
        with other.writing() as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            me = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
            assert connection.exec_driver_sql(me).all()
        other.close()
    assert log.append([shown(1), shown(2)]) == 1
