"""What is kept of decoded clips: always what decoding gives, never more than was allowed."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.engines.videos.kept import Kept


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 300))
def test_what_is_kept_is_what_would_be_made_and_no_more_bytes_than_allowed(places, max_bytes):
    made = Counter()

    def make(place):
        made[place] += 1
        return np.full(10 + place, place, np.uint8)

    kept = Kept(make, max_bytes)
    for place in places:
        assert (kept(place) == np.full(10 + place, place, np.uint8)).all()
    assert kept.nbytes <= max_bytes
    once = [place for place in set(places) if made[place] == 1]
    assert sum(10 + place for place in once if places.count(place) > 1) <= max_bytes
    if sum(10 + place for place in set(places)) <= max_bytes:
        assert set(made.values()) <= {1}
