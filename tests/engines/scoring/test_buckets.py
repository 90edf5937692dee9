"""Slices: buckets cover every length once, figures are computed on each bucket's own examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.scoring.buckets import by_slice, length_bucket


@pytest.mark.parametrize(
    ("length", "bucket"),
    [(0, "0"), (1, "1-5"), (5, "1-5"), (6, "6-10"), (10, "6-10"), (11, "11-20"), (40, "21-40"), (41, "41+")],
)
def test_edges(length, bucket):
    assert length_bucket(length) == bucket


def test_negative_length_is_refused():
    with pytest.raises(ValueError, match="-1"):
        length_bucket(-1)


@given(st.lists(st.integers(0, 100), max_size=30))
def test_slices_partition_the_examples(lengths):
    slices = [{"length": length_bucket(length)} for length in lengths]
    seen = []
    figures = by_slice(slices, lambda members: seen.extend(members) or float(len(members)))
    assert sorted(seen) == list(range(len(lengths)))
    assert sum(one["count"] for one in figures.get("length", {}).values()) == len(lengths)
    assert all(one["score"] == one["count"] for one in figures.get("length", {}).values())


def test_order_and_figures():
    slices = [{"length": "11-20", "domain": "news"}, {"length": "6-10"}, {"length": "41+"}, {"length": "1-5"}]
    figures = by_slice(slices, lambda members: {"bleu": float(members[0])})
    assert list(figures["length"]) == ["1-5", "6-10", "11-20", "41+"]
    assert figures["length"]["41+"] == {"count": 1, "bleu": 2.0}
    assert figures["domain"] == {"news": {"count": 1, "bleu": 0.0}}
