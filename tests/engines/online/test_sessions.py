"""Sessions of several users, in order, whoever writes and whoever is killed."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.engines.online import sessions as module
from components.engines.online.database import Database
from components.engines.online.sessions import CUT_SHORT, Sessions

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = itertools.count()


def asked(text):
    return [{"role": "user", "content": text}]


def talk(sessions, key, user="ann", session="work", finish="stop"):
    sessions.begin(user, session, key, asked(f"question {key}"))
    return sessions.finish(user, session, key, f"answer {key}", id=f"ans {key}", finish=finish)


def talker(url, *words):
    command = [sys.executable, "-m", "tests.engines.online.toy_talker", str(url), *map(str, words)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_same_key_is_the_same_exchange_and_its_first_answer_stands(database):
    sessions = Sessions(database)
    begun = sessions.begin("ann", "work", "k1", asked("hello"))
    assert (begun.answer, begun.is_answered) == (None, False)
    assert sessions.begin("ann", "work", "k1", asked("hello")) == begun
    assert sessions.answered("ann", "work", most=9) == []
    first = sessions.finish("ann", "work", "k1", "hi", id="ans 1", finish="stop")
    assert sessions.finish("ann", "work", "k1", "other", id="ans 2", finish="stop") == first
    assert sessions.begin("ann", "work", "k1", asked("hello")) == first
    assert first.is_answered
    assert first.messages == [*asked("hello"), {"role": "assistant", "content": "hi"}]
    assert list(sessions.read("ann", "work")) == [first]


def test_an_answer_that_was_cut_short_is_history_until_it_is_made_anew(database):
    sessions = Sessions(database)
    cut = talk(sessions, "k1", finish=CUT_SHORT)
    assert not cut.is_answered
    assert sessions.answered("ann", "work", most=9) == [cut]
    whole = sessions.finish("ann", "work", "k1", "the whole", id="ans 2", finish="stop")
    assert (whole.answer, whole.finish, whole.number) == ("the whole", "stop", cut.number)


def test_a_session_that_is_deleted_while_it_is_answered_stays_deleted(database):
    sessions = Sessions(database)
    sessions.begin("ann", "work", "k1", asked("hello"))
    assert sessions.delete("ann", "work") == 1
    assert sessions.finish("ann", "work", "k1", "hi", id="ans 1", finish="stop") is None
    assert list(sessions.read("ann", "work")) == []


steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "finish", "cut", "delete", "delete all"]),
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["work", "home"]),
        st.sampled_from("abc"),
    ),
    max_size=25,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_users_sessions_and_keys_never_mix(tmp_path, steps):
    database = Database(f"sqlite:///{tmp_path}/{next(FILES)}.db")
    sessions, model = Sessions(database), {}
    for what, user, session, key in steps:
        if what == "begin":
            sessions.begin(user, session, key, asked(key))
            model.setdefault((user, session), {}).setdefault(key, None)
        elif what in ("finish", "cut"):
            sessions.finish(user, session, key, what, id="ans", finish=CUT_SHORT if what == "cut" else "stop")
            mine = model.get((user, session), {})
            if key in mine and mine[key] != "finish":
                mine[key] = what
        else:
            gone = [one for one in model if one[0] == user and (what == "delete all" or one[1] == session)]
            count = sum(len(model.pop(one)) for one in gone)
            assert sessions.delete(user, None if what == "delete all" else session) == count
    for user in ("ann", "bob"):
        assert sessions.names(user) == sorted(session for who, session in model if who == user)
        for session in ("work", "home"):
            expected = list(model.get((user, session), {}).items())
            assert [(one.key, one.answer) for one in sessions.read(user, session)] == expected
            said = [key for key, answer in expected if answer]
            assert [one.key for one in sessions.answered(user, session, most=2)] == said[-2:]
    database.close()


def test_two_processes_in_one_session_lose_and_double_nothing(url, database):
    started = [talker(url, name, 0, 25) for name in ("one", "two")]
    for process in started:
        told, _ = process.communicate(timeout=250)
        assert len(told.split()) == 25
        assert process.returncode == 0
    found = list(Sessions(database).read("ann", "work"))
    assert all(one.answer == f"answer {one.key}" for one in found)
    for name in ("one", "two"):
        mine = [one.key for one in found if one.key.startswith(name)]
        assert mine == [f"{name}-{number}" for number in range(25)]
    assert len(found) == 50


def test_a_kill_in_the_middle_of_an_answer_leaves_the_question_open_and_a_second_try_answers_it_once(url, database):
    process = talker(url, "one", 0, 4, "begin")
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in range(4)] == list("0123")
    process.send_signal(signal.SIGKILL)
    process.wait()
    sessions = Sessions(database)
    assert [one.is_answered for one in sessions.read("ann", "work")] == [True, True, True, False]
    assert len(sessions.answered("ann", "work", most=9)) == 3
    again = talker(url, "one", 2, 4)
    again.communicate(timeout=250)
    found = list(sessions.read("ann", "work"))
    assert [one.key for one in found] == [f"one-{number}" for number in range(4)]
    assert all(one.is_answered for one in found)


def test_ten_thousand_turns(database, monkeypatch):
    sessions = Sessions(database)
    rows = [
        sessions._of("ann", "work")
        | {"key": f"k{n}", "asked": asked(f"question {n}"), "answer": "x" * 300, "finish": "stop", "time_us": n}
        for n in range(4_990)
    ]
    with database.writing() as connection:
        connection.execute(module._exchanges.insert(), rows)
    started = time.monotonic()
    for number in range(4_990, 5_000):
        talk(sessions, f"k{number}")
        assert len(sessions.answered("ann", "work", most=200)) == 200
    assert time.monotonic() - started < 20
    tracemalloc.start()
    keys = [one.key for one in sessions.read("ann", "work")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert keys == [f"k{number}" for number in range(5_000)]
    assert peak < 4 * 2**20
    assert [one.key for one in sessions.answered("ann", "work", most=3)] == ["k4997", "k4998", "k4999"]
    assert sessions.delete("ann") == 5_000


def test_deleted_texts_are_in_no_file(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/online.db")
    sessions = Sessions(database)
    for number in range(40):
        talk(sessions, f"k{number}", session="work" if number % 2 else "home")
    sessions.delete("ann", "work")
    there = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b'question k1"' not in there
    assert b"answer k39" not in there
    assert b"answer k38" in there
    database.close()
