"""The envelope is CloudEvents 1.0, as its own SDK reads it, and no field takes what must not be in the log."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.engines.base.errors import UsageError
from components.engines.online.events import KINDS, SOURCE, Event, Failed, Rated, Shown, event, key, read_event

signs = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)
whole = {"system": "toy", "version": 3, "answer": "ans_1"}


zones = st.integers(-720, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(id=signs, subject=st.none() | signs, time=st.datetimes(timezones=zones), answer=signs)
def test_an_event_is_a_cloud_event_and_comes_back_as_it_was(id, subject, time, answer):
    made = event(Shown(system="toy", version=3, answer=answer), id=id, subject=subject, time=time)
    written = json.dumps(made.as_json())
    theirs = JSONFormat().read(CloudEvent, written)
    assert (theirs.get_id(), theirs.get_subject(), theirs.get_specversion()) == (id, subject, "1.0")
    assert (theirs.get_source(), theirs.get_type()) == (SOURCE, "genworks.suggestion.shown")
    assert theirs.get_time() == time
    assert theirs.get_data() == {"system": "toy", "version": 3, "answer": answer}
    assert read_event(json.loads(written)) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"id": "a" * 201},
        {"source": ""},
        {"source": "no uri, it has spaces"},
        {"specversion": "0.3"},
        {"time": "2026-11-27T10:00:00"},  # of no zone
        {"time": "yesterday"},
        {"type": "genworks.unheard"},
        {"subject": ""},
        {"email": "me@example.org"},
        {"data": whole | {"comment": "call 555-0199"}},
        {"data": whole | {"version": 0}},
        {"data": {"system": "toy", "version": 1}},
    ],
    ids=str,
)
def test_what_is_no_event_is_refused_with_the_place(wrong):
    good = event(Shown(**whole)).as_json()
    read_event(good)
    with pytest.raises(UsageError, match="This is no event"):
        read_event(good | wrong)


def test_numbers_that_no_json_can_hold_and_ratings_off_the_scale_are_refused():
    for rating in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValidationError):
            Rated(**whole, rating=rating)
    with pytest.raises(ValidationError):
        Failed(system="toy", request="r", status=500, milliseconds=float("inf"))


def test_source_and_id_together_name_an_event():
    assert key("a") == key("a") != key("b")
    assert key("a", "urn:one") != key("a", "urn:other")
    assert len({kind.type for kind in KINDS.values()}) == len(KINDS)


def test_times_are_kept_in_utc():
    made = event(Shown(**whole), time=datetime.fromisoformat("2026-11-27T12:00:00+02:00"))
    assert made.time == datetime(2026, 11, 27, 10, tzinfo=UTC)
    assert isinstance(made, Event)
    assert made.as_json()["time"] == "2026-11-27T10:00:00Z"
