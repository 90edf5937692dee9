"""The best guidance must not be flattered by having been chosen on what it is measured by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.text_to_image.measures.judged import best_of, right_at_best

verdicts = st.integers(1, 12).flatmap(lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1))


def settings(lists: list[list[bool]]) -> dict[str, np.ndarray]:
    return {f"guidance {number}": np.array(one) for number, one in enumerate(lists)}


def test_ways_that_are_equally_good_gain_nothing_by_being_many() -> None:
    right = settings(np.random.default_rng(0).random((50, 1000)) < 0.5)
    assert right[best_of(right)].mean() > 0.53
    assert right_at_best(right).mean() == pytest.approx(0.5, abs=0.02)


def test_a_way_that_is_better_is_found() -> None:
    rng = np.random.default_rng(0)
    right = settings([rng.random(512) < share for share in (0.8, 0.95, 0.9)])
    assert best_of(right) == "guidance 1"
    assert right_at_best(right).mean() == right["guidance 1"].mean()


@given(verdicts)
def test_no_prompt_helps_to_choose_what_it_is_measured_by(lists: list[list[bool]]) -> None:
    right = settings(lists)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = {setting: found.copy() for setting, found in right.items()}
        for found in other.values():
            found[half] = ~found[half]  # all answers of this half turned round: the same settings are chosen for it
        assert np.array_equal(right_at_best(other)[half], ~right_at_best(right)[half])
