"""Events on their way to the log, while its database is there, is away, and comes back."""

from __future__ import annotations

import time

import pytest

from components.engines.base.errors import StageError
from components.engines.online.database import Database
from components.engines.online.log import EventLog
from components.engines.online.recorder import Recorder
from tests.engines.online.toy_writer import shown
from tests.postgres_server import postgres_server

AWAY = StageError("The database of events does not answer: connection refused")


class Interrupted(EventLog):
    """A log whose database is away while `away` holds a reason."""

    away: Exception | None = None

    def append(self, events):
        if self.away is not None:
            raise self.away
        return super().append(events)

    def find(self, id, **more):
        if self.away is not None:
            raise self.away
        return super().find(id, **more)


@pytest.fixture
def logs(tmp_path):
    databases = [Database(f"sqlite:///{tmp_path / name}.db") for name in ("online", "spool")]
    yield Interrupted(databases[0]), Interrupted(databases[1])
    for one in databases:
        one.close()


@pytest.fixture
def recorder(logs):
    made = Recorder(*logs, retry_s=0.05)
    yield made
    made.close()


def ids(log):
    return [one.id for _, one in log.read()]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_handed_in_is_on_disk_when_its_future_is_done(recorder, logs):
    futures = [recorder.add(shown(number), shown(number)) for number in range(50)]
    for future in futures:
        future.result(timeout=60)
    assert ids(logs[0]) == [f"e{number}" for number in range(50)]
    assert recorder.waiting is None


def test_an_outage_is_bridged_in_order_and_without_doubles(recorder, logs):
    recorder.add(shown(0)).result(timeout=60)
    logs[0].away = AWAY
    for number in (1, 2, 1):
        recorder.add(shown(number)).result(timeout=60)
    assert "connection refused" in recorder.waiting
    assert recorder.find("e2").id == "e2"  # by what waits
    with pytest.raises(StageError, match="connection refused"):
        recorder.find("e0")
    with pytest.raises(StageError, match="connection refused"):  # not half forgotten
        recorder.forget("user-1").result(timeout=60)
    logs[0].away = None
    wait_for(lambda: recorder.waiting is None)
    recorder.add(shown(3)).result(timeout=60)
    assert ids(logs[0]) == ["e0", "e1", "e2", "e3"]
    assert ids(logs[1]) == []


def test_what_a_killed_server_left_waiting_is_written_by_the_next(logs):
    logs[1].append([shown(1), shown(2)])
    logs[0].append([shown(1)])  # killed between writing and emptying the spool
    recorder = Recorder(*logs, retry_s=0.05)
    wait_for(lambda: recorder.waiting is None)
    assert ids(logs[0]) == ["e1", "e2"]
    recorder.close()


def test_forgetting_reaches_events_on_their_way(recorder, logs):
    logs[0].away = AWAY
    recorder.add(shown(1, "user-1"), shown(2, "user-2")).result(timeout=60)
    logs[0].away = None
    late = recorder.add(shown(3, "user-1"))
    assert recorder.forget("user-1").result(timeout=60) == 2
    late.result(timeout=60)
    assert ids(logs[0]) == ["e2"]
    assert recorder.waiting is None


def test_what_neither_takes_is_counted_and_said(recorder, logs):
    logs[0].away = logs[1].away = StageError("The disk is full")
    with pytest.raises(StageError, match="disk is full"):
        recorder.add(shown(1), shown(2)).result(timeout=60)
    assert recorder.lost == 2
    logs[0].away = logs[1].away = None
    recorder.add(shown(3)).result(timeout=60)
    wait_for(lambda: recorder.waiting is None)
    assert ids(logs[0]) == ["e3"]


def test_a_postgres_that_stops_is_bridged(tmp_path):
    spool = EventLog(Database(f"sqlite:///{tmp_path / 'spool'}.db"))
    with postgres_server() as server:
        recorder = Recorder(EventLog(Database(server.url("online"), patience_s=2)), spool, retry_s=0.2)
        recorder.add(shown(0)).result(timeout=60)
        assert (recorder.waiting, ids(recorder.events)) == (None, ["e0"])
    recorder.add(shown(1)).result(timeout=60)
    recorder.add(shown(2)).result(timeout=60)
    assert "does not answer" in recorder.waiting
    assert server.password not in recorder.waiting
    assert ids(spool) == ["e1", "e2"]
    recorder.close()
