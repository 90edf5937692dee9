"""What of a long conversation the next answer sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.base.errors import BadRecord
from components.engines.serving.conversation import characters, exchanges, truncated

contents = st.text("ab", max_size=6)
roles = st.sampled_from(["user", "assistant"])


@st.composite
def conversations(draw):
    system = [{"role": "system", "content": draw(contents)}] if draw(st.booleans()) else []
    said = [{"role": draw(roles), "content": draw(contents)} for _ in range(draw(st.integers(0, 8)))]
    return [*system, *said, {"role": "user", "content": draw(contents)}]


@given(conversations(), st.integers(0, 60))
def test_the_system_and_the_question_stay_and_of_the_rest_the_newest_exchanges_that_fit(messages, room):
    system = messages[:1] if messages[0]["role"] == "system" else []
    question = exchanges(messages[len(system) :])[-1]
    if characters([*system, *question]) > room:
        with pytest.raises(BadRecord, match="too long"):
            truncated(messages, room, characters)
        return
    kept, left_out = truncated(messages, room, characters)
    assert characters(kept) <= room
    assert left_out == len(messages) - len(kept)
    assert kept[: len(system)] == system
    tail = kept[len(system) :]
    assert tail == messages[len(messages) - len(tail) :]  # no gap
    assert tail[-len(question) :] == question
    groups = exchanges(messages[len(system) :])
    assert tail == [one for group in groups[len(groups) - len(exchanges(tail)) :] for one in group]  # none of them half
    if left_out:
        missing = groups[len(groups) - len(exchanges(tail)) - 1]
        assert characters([*kept, *missing]) > room


def test_an_exchange_begins_where_a_user_speaks_after_the_assistant():
    said = [
        {"role": role, "content": str(n)}
        for n, role in enumerate(["user", "assistant", "user", "user", "assistant", "user"])
    ]
    assert [[one["content"] for one in group] for group in exchanges(said)] == [["0", "1"], ["2", "3", "4"], ["5"]]
