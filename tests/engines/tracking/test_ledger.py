"""The ledger: nothing moves off the record, interrupted moves are finished, writers that meet or sleep do no harm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.base.errors import StageError, UsageError
from components.engines.tracking import ledger
from components.engines.tracking.ledger_lines import in_force
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
    assert ledger.champion_at(project.root, "toy", first.when).version == 1
    between = datetime.fromisoformat(second.when) - timedelta(microseconds=1)
    assert ledger.champion_at(project.root, "toy", between).version == 1
    assert ledger.champion_at(project.root, "toy", second.when).version == 2
    today = datetime.now(UTC).date().isoformat()
    assert ledger.champion_at(project.root, "toy", today).version == 2  # a date is its end
    assert [line.seq for line in ledger.history(project.root, "toy", first.when)] == [1]


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


def kill(project: Project, at: str, found: int) -> None:
    """Promote in another process, which is killed right before it calls `at` for the first time."""
    code = f"""
import os, signal
from pathlib import Path
from components.engines.tracking import ledger, ledger_lines
from components.engines.tracking.registry import version
from mlflow import MlflowClient
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
for owner in (ledger, MlflowClient):
    if hasattr(owner, {at!r}):
        setattr(owner, {at!r}, die)
ledger.move(Path.cwd(), version(Path.cwd(), "toy", {found}), "promote", evidence={{}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=project.root, check=False)
    assert done.returncode == -signal.SIGKILL


# every write of a promotion, before and after: what stands afterwards is the old state or the new one, never a mixture
KILLS = {
    "create_model_version": 1,
    "set_registered_model_tag": 2,
    "_point_aliases": 2,
    "set_registered_model_alias": 2,
    "mark_applied": 2,
}


@pytest.mark.parametrize("at", KILLS)
def test_a_kill_at_any_write_leaves_the_old_champion_or_the_new_one(project, versions, at):
    promote(project, versions[0])
    kill(project, at, 2)
    champion = KILLS[at]
    assert ledger.champion_at(project.root, "toy").version == champion
    assert ledger.verify(project.root, "toy") == []
    assert aliases(project) == ({"champion": 2, "previous": 1} if champion == 2 else {"champion": 1})
    promote(project, versions[1])  # the next run ends where an undisturbed one does
    promote(project, versions[2])
    assert aliases(project) == {"champion": 3, "previous": 2}
    assert ledger.verify(project.root, "toy") == []


def test_a_move_interrupted_between_the_two_aliases_is_completed(project, versions, monkeypatch):
    promote(project, versions[0])
    promote(project, versions[1])

    def previous_only(client: Any, system: str, wanted: dict[str, Any]) -> None:
        client.set_registered_model_alias(system, "previous", str(wanted["previous"]))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_point_aliases", previous_only)
        with pytest.raises(KeyboardInterrupt):
            promote(project, versions[2])
    assert aliases(project) == {"champion": 2, "previous": 2}
    assert ledger.verify(project.root, "toy") == []
    assert aliases(project) == {"champion": 3, "previous": 2}


def test_two_interrupted_moves_in_a_row_do_no_harm(project, versions):
    """They once took one number, were both closed as done, and every later move was refused."""
    promote(project, versions[0])
    kill(project, "set_registered_model_tag", 2)
    kill(project, "set_registered_model_tag", 3)
    assert ledger.champion_at(project.root, "toy").version == 3
    promote(project, versions[0])
    assert [line.seq for line in ledger.history(project.root, "toy")] == [1, 2, 3, 4]
    assert aliases(project) == {"champion": 1, "previous": 3}
    assert ledger.verify(project.root, "toy") == []


@pytest.mark.parametrize("asleep_in", ["_point_aliases", "set_registered_model_alias"])
def test_a_writer_that_sleeps_does_not_move_aliases_back_on_waking(project, versions, monkeypatch, asleep_in):
    """While it sleeps (another host, no common lock), its move is completed and two others follow."""
    from mlflow import MlflowClient

    owner = ledger if asleep_in == "_point_aliases" else MlflowClient
    real = getattr(owner, asleep_in)
    slept: list[int] = []

    def sleepy(*arguments: Any) -> None:
        if not slept:
            slept.append(1)
            promote(project, versions[2])
            promote(project, versions[0])
        real(*arguments)

    monkeypatch.setattr(owner, asleep_in, sleepy)
    promote(project, versions[1])
    monkeypatch.undo()
    assert slept
    assert [line.version for line in ledger.history(project.root, "toy")] == [2, 3, 1]
    assert aliases(project) == {"champion": 1, "previous": 3}
    assert ledger.verify(project.root, "toy") == []


def test_of_two_writers_that_meet_the_later_one_decides_again(project, versions, monkeypatch):
    """A rival from another machine (another lock) writes its line after we have read and before we write."""
    promote(project, versions[0])
    real, rivals = ledger.append, []

    def slow(client: Any, line: ledger.Line, found: Version) -> ledger.Line:
        if not rivals:
            rivals.append(line)
            promote(project, versions[2])
        return real(client, line, found)

    monkeypatch.setattr(ledger, "append", slow)
    promote(project, versions[1])
    assert [(line.seq, line.moves["champion"]) for line in ledger.history(project.root, "toy")] == [
        (1, (None, 1)),
        (2, (1, 3)),
        (4, (3, 2)),  # line 3 was decided on what no longer stood
    ]
    assert aliases(project) == {"champion": 2, "previous": 3}
    assert ledger.verify(project.root, "toy") == []


def test_of_two_writers_that_meet_the_later_one_gives_up_if_it_was_judged_against_the_old_champion(
    project, versions, monkeypatch
):
    promote(project, versions[0])
    real, rivals = ledger.append, []

    def slow(client: Any, line: ledger.Line, found: Version) -> ledger.Line:
        if not rivals:
            rivals.append(line)
            promote(project, versions[2])
        return real(client, line, found)

    monkeypatch.setattr(ledger, "append", slow)
    with pytest.raises(StageError, match="version 3 now; this was judged against 1"):
        promote(project, versions[1], expected=1)
    assert aliases(project) == {"champion": 3, "previous": 1}
    assert ledger.verify(project.root, "toy") == []


def test_a_decision_that_missed_another_one_does_not_count(project, versions):
    first = promote(project, versions[0])
    ledger.note(project.root, versions[1], "refuse", evidence={}, seen=first.seq)
    with pytest.raises(StageError, match="Another decision"):
        ledger.note(project.root, versions[2], "refuse", evidence={}, seen=first.seq)
    with pytest.raises(StageError, match="recorded meanwhile"):
        promote(project, versions[2], seen=first.seq)
    assert len(ledger.history(project.root, "toy")) == 2


@given(
    seen=st.lists(st.integers(0, 6), min_size=1, max_size=7),
    lost=st.sets(st.integers(1, 7), max_size=2),
)
def test_lines_in_force_are_those_whose_writer_had_seen_all_before(seen, lost):
    """Whatever each writer had seen: between a line in force and what it had seen no other line in force stands."""
    lines = [line_of(number, min(after, number - 1)) for number, after in enumerate(seen, start=1)]
    counting = in_force([line for line in lines if line.seq not in lost])
    numbers = [line.seq for line in counting]
    for line in counting:
        assert not [number for number in numbers if line.after < number < line.seq]
    for line in lines:
        if line.seq not in lost and line not in counting:
            assert [number for number in numbers if line.after < number < line.seq]


def line_of(number: int, after: int) -> ledger.Line:
    return ledger.Line(number, after, "", "", "refuse", "toy", 1, "", {}, {}, "", {}, "")


def test_a_champion_that_was_deleted_shows_and_a_rollback_repairs_it(project, versions):
    promote(project, versions[0])
    promote(project, versions[1])
    with opened(store_of(project.root)) as client:
        client.delete_model_version("toy", "2")
    assert ledger.verify(project.root, "toy") == ["alias 'champion' points to nothing, the ledger says version 2"]
    ledger.move(project.root, versions[0], "rollback", evidence={})
    assert ledger.verify(project.root, "toy") == []


def test_going_back_past_a_deleted_version_leaves_no_previous(project, versions):
    for found in versions:
        promote(project, found)
    with opened(store_of(project.root)) as client:
        client.delete_model_version("toy", "1")
    ledger.move(project.root, versions[1], "rollback", evidence={})
    assert aliases(project) == {"champion": 2}
    assert ledger.verify(project.root, "toy") == []


def rewrite(project: Project, number: int, text: str) -> None:
    """Rewrite a line as somebody with access to the database could."""
    with opened(store_of(project.root)) as client:
        client.set_model_version_tag("toy-ledger", str(number), "genworks.ledger.line.0000", text)


@pytest.mark.parametrize("text", ["{", "null", "[1]", '{"after": 1}', "[" * 4000])
def test_a_damaged_line_shows_is_passed_over_and_can_be_put_on_record(project, versions, text):
    for found in versions:
        promote(project, found)
    rewrite(project, 2, text)
    problems = ledger.verify(project.root, "toy")
    assert [problem.split(":")[0] for problem in problems] == ["line 2 cannot be read"]
    assert [line.seq for line in ledger.history(project.root, "toy")] == [1, 3]
    with pytest.raises(StageError, match=r"line 2 cannot be read.*rollback"):
        promote(project, versions[0])
    ledger.move(project.root, versions[0], "rollback", evidence={"repairs": problems})
    assert ledger.verify(project.root, "toy") == []
    promote(project, versions[1])
    assert aliases(project) == {"champion": 2, "previous": 1}


def test_a_line_with_a_key_of_a_later_release_is_read(project, versions):
    promote(project, versions[0])
    content = ledger.history(project.root, "toy")[0].content()
    rewrite(project, 1, json.dumps(content | {"more": 1}))
    assert ledger.verify(project.root, "toy") == []
    assert ledger.champion_at(project.root, "toy").version == 1


@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_deleted_line_shows(project, versions, which):
    promote(project, versions[0])
    ledger.note(project.root, versions[1], "refuse", evidence={})
    ledger.note(project.root, versions[2], "refuse", evidence={})
    with opened(store_of(project.root)) as client:
        client.delete_model_version("toy-ledger", str(which))
    assert f"line {which} is missing" in ledger.verify(project.root, "toy")
    with pytest.raises(StageError, match=f"line {which} is missing"):
        promote(project, versions[2])


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


def test_a_clock_set_back_does_not_reorder_history(project, versions, monkeypatch):
    first = promote(project, versions[0])

    class Yesterday(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(days=1)

    monkeypatch.setattr(ledger, "datetime", Yesterday)
    second = promote(project, versions[1])
    assert first.when <= second.when


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
def test_many_writers_without_a_common_lock_make_one_table(project, versions):
    code = """
import contextlib
from pathlib import Path
from components.engines.tracking import ledger
from components.engines.tracking.registry import version
ledger.exclusive = lambda *_: contextlib.nullcontext()  # as on another host
ledger._ATTEMPTS = 40
for _ in range(3):
    ledger.note(Path.cwd(), version(Path.cwd(), "toy", 1), "refuse", evidence={})
"""
    writers = [subprocess.Popen([sys.executable, "-c", code], cwd=project.root) for _ in range(3)]
    assert [writer.wait(timeout=240) for writer in writers] == [0, 0, 0]
    lines = ledger.history(project.root, "toy")
    assert len(lines) == 9
    assert all(later.after == earlier.seq for earlier, later in pairwise(lines))
    assert ledger.verify(project.root, "toy") == []
