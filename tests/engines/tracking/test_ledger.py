"""The ledger: nothing moves off the record, interrupted moves are finished, tampering shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.tracking import ledger
from components.engines.tracking.ledger_runs import read
from components.engines.tracking.registry import Version, version
from components.engines.tracking.store import get_or_create_experiment, opened, store_of
from tests.engines.tracking.registered_project import Project


@pytest.fixture
def versions(project: Project) -> list[Version]:
    """Three bare versions: the ledger asks no more of them than tags."""
    with opened(store_of(project.root)) as client:
        client.create_registered_model("toy")
        experiment = get_or_create_experiment(client, store_of(project.root), "toy")
        for number in range(1, 4):
            run = client.create_run(experiment).info.run_id
            tags = {"genworks.digest": f"d{number}", "genworks.commit": f"c{number}", "genworks.data.x": f"m{number}"}
            client.create_model_version("toy", f"runs:/{run}/model", run, tags=tags)
    return [version(project.root, "toy", number) for number in (1, 2, 3)]


def aliases(project: Project) -> dict[str, int]:
    with opened(store_of(project.root)) as client:
        return {name: int(number) for name, number in client.get_registered_model("toy").aliases.items()}


def runs(project: Project) -> list[Any]:
    """The ledger's MLflow runs, first line first."""
    with opened(store_of(project.root)) as client:
        experiment = client.get_experiment_by_name("toy-ledger").experiment_id
        return sorted(client.search_runs([experiment]), key=lambda run: int(run.data.tags["genworks.ledger.seq"]))


def promote(project: Project, found: Version, **options: Any) -> ledger.Line:
    return ledger.move(project.root, found, "promote", evidence=options.pop("evidence", {}), **options)


def test_moves_are_lines_that_say_who_when_and_on_what(project, versions):
    promote(project, versions[0], reason="first")
    promote(project, versions[1], evidence={"interval": [0.1, 0.2]})
    lines = ledger.history(project.root, "toy")
    assert [line.moves["champion"] for line in lines] == [(None, 1), (1, 2)]
    assert lines[1].evidence == {"interval": [0.1, 0.2]}
    assert (lines[0].who, lines[0].reason, lines[0].digest) == ("tester", "first", "d1")
    assert (lines[0].data, lines[0].code) == ({"x": "m1"}, "c1")
    assert aliases(project) == {"champion": 2, "previous": 1}
    assert ledger.verify(project.root, "toy") == []


def test_evidence_of_any_length_survives(project, versions):
    evidence = {"slices": {f"slice-{n} ü": n / 7 for n in range(2000)}}
    promote(project, versions[0], evidence=evidence)
    assert ledger.history(project.root, "toy")[0].evidence == evidence
    assert ledger.verify(project.root, "toy") == []


def test_history_as_of_answers_for_any_time(project, versions):
    first, second = promote(project, versions[0]), promote(project, versions[1])
    assert ledger.champion_at(project.root, "toy", "2020-01-01") is None
    assert ledger.champion_at(project.root, "toy", first.closed).version == 1
    between = datetime.fromisoformat(second.closed) - timedelta(microseconds=1)
    assert ledger.champion_at(project.root, "toy", between).version == 1
    assert ledger.champion_at(project.root, "toy", second.closed).version == 2
    today = datetime.now(UTC).date().isoformat()
    assert ledger.champion_at(project.root, "toy", today).version == 2  # a date is its end
    assert [line.seq for line in ledger.history(project.root, "toy", first.closed)] == [1]


def test_times_are_read_with_their_zone():
    assert ledger.parse_when("2026-05-31T12:00:00+02:00") == datetime(2026, 5, 31, 10, tzinfo=UTC)
    assert ledger.parse_when("2026-05-31T12:00") == datetime(2026, 5, 31, 12, tzinfo=UTC)
    assert ledger.parse_when("2026-05-31").hour == 23
    with pytest.raises(UsageError, match="no time"):
        ledger.parse_when("yesterday")


def test_a_system_without_ledger_has_no_history(project):
    assert ledger.history(project.root, "nothing") == []
    assert ledger.champion_at(project.root, "nothing") is None


def test_a_decision_against_another_champion_does_not_count(project, versions):
    promote(project, versions[0], expected=None)
    with pytest.raises(StageError, match="version 1 now; this was judged against 3"):
        promote(project, versions[1], expected=3)
    assert aliases(project) == {"champion": 1}


def break_off_after(project: Project, monkeypatch: pytest.MonkeyPatch, found: Version, step: str) -> None:
    """Promote, and fail right before the named step: the process might as well have died there."""

    def fails(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, step, fails)
        with pytest.raises(KeyboardInterrupt):
            promote(project, found)


@pytest.mark.parametrize("step", ["_move_aliases", "close"])
def test_an_interrupted_move_is_completed_on_the_next_access(project, versions, monkeypatch, step):
    promote(project, versions[0])
    break_off_after(project, monkeypatch, versions[1], step)
    line = ledger.history(project.root, "toy")[-1]
    assert (line.seq, line.state) == (2, "done")
    assert "interrupted" in line.note
    assert aliases(project) == {"champion": 2, "previous": 1}
    assert ledger.verify(project.root, "toy") == []
    promote(project, versions[2])
    assert ledger.verify(project.root, "toy") == []


def test_a_move_interrupted_between_the_two_aliases_is_completed(project, versions, monkeypatch):
    promote(project, versions[0])
    promote(project, versions[1])
    break_off_after(project, monkeypatch, versions[2], "_move_aliases")
    with opened(store_of(project.root)) as client:
        client.set_registered_model_alias("toy", "previous", "2")
    assert ledger.verify(project.root, "toy") == []
    assert aliases(project) == {"champion": 3, "previous": 2}


def test_an_interrupted_move_that_was_overtaken_is_declared_failed(project, versions, monkeypatch):
    promote(project, versions[0])
    break_off_after(project, monkeypatch, versions[1], "_move_aliases")
    with opened(store_of(project.root)) as client:
        client.set_registered_model_alias("toy", "champion", "3")
    line = ledger.history(project.root, "toy")[-1]
    assert line.state == "failed"
    assert "moved elsewhere" in line.note
    assert ledger.verify(project.root, "toy") == ["alias 'champion' points to version 3, the ledger says version 1"]


def test_an_interrupted_move_to_a_deleted_version_is_declared_failed(project, versions, monkeypatch):
    promote(project, versions[0])
    break_off_after(project, monkeypatch, versions[1], "_move_aliases")
    with opened(store_of(project.root)) as client:
        client.delete_model_version("toy", "2")
    assert ledger.history(project.root, "toy")[-1].state == "failed"
    assert aliases(project) == {"champion": 1}


def test_going_back_past_a_deleted_version_leaves_no_previous(project, versions):
    for found in versions:
        promote(project, found)
    with opened(store_of(project.root)) as client:
        client.delete_model_version("toy", "1")
    ledger.move(project.root, versions[1], "rollback", evidence={})
    assert aliases(project) == {"champion": 2}
    assert ledger.verify(project.root, "toy") == []


def test_a_killed_process_leaves_a_line_that_the_next_one_finishes(project, versions):
    code = """
import os, signal
from pathlib import Path
from components.engines.tracking import ledger
from components.engines.tracking.registry import version
ledger._move_aliases = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
ledger.move(Path.cwd(), version(Path.cwd(), "toy", 1), "promote", evidence={})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=project.root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert aliases(project) == {}
    assert ledger.champion_at(project.root, "toy").version == 1
    assert aliases(project) == {"champion": 1}


def test_a_living_writer_elsewhere_is_waited_for_until_it_cannot_be_alive(project, versions, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", os.getppid)  # a living process that is not this one
        break_off_after(project, patch, versions[0], "_move_aliases")
    monkeypatch.setattr(ledger, "OPEN_SECONDS", 1.5)
    started = datetime.now(UTC)
    assert ledger.history(project.root, "toy")[-1].state == "done"
    assert datetime.now(UTC) - started > timedelta(seconds=0.3)


def tamper(project: Project, run: Any, change: Any) -> None:
    """Rewrite a line's content as somebody with access to the database could."""
    tags = run.data.tags
    content = json.loads(tags["genworks.ledger.line.0000"])
    change(content)
    with opened(store_of(project.root)) as client:
        client.set_tag(run.info.run_id, "genworks.ledger.line.0000", json.dumps(content))


def test_a_changed_line_shows_and_stops_promotions(project, versions):
    promote(project, versions[0])
    promote(project, versions[1])
    tamper(project, runs(project)[0], lambda content: content.update(who="somebody else"))
    assert any("line 1" in problem and "changed" in problem for problem in ledger.verify(project.root, "toy"))
    with pytest.raises(StageError, match="cannot be trusted"):
        promote(project, versions[2])
    assert aliases(project) == {"champion": 2, "previous": 1}


def test_a_line_changed_with_its_hash_breaks_the_seal_and_the_chain(project, versions):
    from components.engines.base.paths import digest_value

    promote(project, versions[0])
    promote(project, versions[1])
    run = runs(project)[0]
    content = json.loads(run.data.tags["genworks.ledger.line.0000"]) | {"who": "somebody else"}
    tamper(project, run, lambda old: old.update(content))
    with opened(store_of(project.root)) as client:
        client.set_tag(run.info.run_id, "genworks.ledger.hash", digest_value(content))
    assert any("outcome of line 1" in problem for problem in ledger.verify(project.root, "toy"))


def test_an_outcome_turned_round_shows(project, versions):
    promote(project, versions[0])
    run = runs(project)[0]
    closing = json.loads(run.data.tags["genworks.ledger.closing"]) | {"state": "void"}
    with opened(store_of(project.root)) as client:
        client.set_tag(run.info.run_id, "genworks.ledger.closing", json.dumps(closing))
    assert any("outcome" in problem for problem in ledger.verify(project.root, "toy"))


def test_an_unreadable_line_shows(project, versions):
    promote(project, versions[0])
    with opened(store_of(project.root)) as client:
        client.set_tag(runs(project)[0].info.run_id, "genworks.ledger.line.0000", "{")
    assert any("line 1" in problem for problem in ledger.verify(project.root, "toy"))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_deleted_line_shows(project, versions, which):
    for found in versions:
        promote(project, found)
    with opened(store_of(project.root)) as client:
        client.delete_run(runs(project)[which].info.run_id)
    assert f"line {which + 1}" in " ".join(ledger.verify(project.root, "toy"))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_line_erased_from_the_database_shows(project, versions, which):
    import sqlite3

    promote(project, versions[0])
    ledger.note(project.root, versions[1], "refuse", evidence={})
    ledger.note(project.root, versions[2], "refuse", evidence={})
    gone = runs(project)[which].info.run_id
    with sqlite3.connect(project.root / "mlflow.db") as database:
        for table in ("tags", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (gone,))
    database.close()
    assert any("missing" in problem or "follow" in problem for problem in ledger.verify(project.root, "toy"))


def test_an_alias_moved_behind_the_ledgers_back_shows_and_a_rollback_repairs_it(project, versions):
    promote(project, versions[0])
    with opened(store_of(project.root)) as client:
        client.set_registered_model_alias("toy", "champion", "3")
        client.set_registered_model_alias("toy", "previous", "3")
    assert len(ledger.verify(project.root, "toy")) == 2
    with pytest.raises(StageError, match="outside genworks"):
        promote(project, versions[1])
    ledger.move(project.root, versions[0], "rollback", evidence={})
    assert ledger.verify(project.root, "toy") == []
    assert aliases(project) == {"champion": 1}


def test_an_open_line_somebody_planted_is_not_carried_out(project, versions, monkeypatch):
    promote(project, versions[0])
    break_off_after(project, monkeypatch, versions[1], "_move_aliases")
    tamper(project, runs(project)[1], lambda content: content.update(moves={"champion": [1, 3]}))
    assert any("line 2" in problem for problem in ledger.verify(project.root, "toy"))
    assert aliases(project) == {"champion": 1}


def test_writers_that_meet_withdraw_and_try_again(project, versions, monkeypatch):
    """A rival from another machine (another lock) writes the same line number in the same moment."""
    promote(project, versions[0])
    real, rivals = ledger.write, []

    def write(client: Any, experiment: str, line: ledger.Line) -> ledger.Line:
        if not rivals:
            rivals.append(real(client, experiment, line))
            ledger.close(client, rivals[0], "done")
        return real(client, experiment, line)

    monkeypatch.setattr(ledger, "write", write)
    ledger.note(project.root, versions[1], "refuse", evidence={})
    lines = ledger.history(project.root, "toy")
    assert [line.seq for line in lines] == [1, 2, 3]
    assert ledger.verify(project.root, "toy") == []
    with opened(store_of(project.root)) as client:
        experiment = client.get_experiment_by_name("toy-ledger").experiment_id
        assert [line.state for line in read(client, experiment)].count("void") == 1


def test_a_clock_set_back_does_not_reorder_history(project, versions, monkeypatch):
    first = promote(project, versions[0])

    class Yesterday(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(days=1)

    monkeypatch.setattr(ledger, "datetime", Yesterday)
    second = promote(project, versions[1])
    assert first.closed <= second.when <= second.closed


def test_what_was_rolled_back_is_remembered_by_its_bytes(project, versions):
    promote(project, versions[0])
    promote(project, versions[1])
    back = ledger.move(project.root, versions[0], "rollback", evidence={}, reason="bad")
    lines = ledger.history(project.root, "toy")
    assert ledger.rolled_back(lines, "d2") == back
    assert ledger.rolled_back(lines, "d1") is None
    promote(project, versions[1])
    assert ledger.rolled_back(ledger.history(project.root, "toy"), "d2") is None


@pytest.mark.slow
def test_many_writers_at_once_make_one_chain(project, versions):
    code = """
from pathlib import Path
from components.engines.tracking import ledger
from components.engines.tracking.registry import version
for _ in range(3):
    ledger.note(Path.cwd(), version(Path.cwd(), "toy", 1), "refuse", evidence={})
"""
    writers = [subprocess.Popen([sys.executable, "-c", code], cwd=project.root) for _ in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert [line.seq for line in ledger.history(project.root, "toy")] == list(range(1, 10))
    assert ledger.verify(project.root, "toy") == []
