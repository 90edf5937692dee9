"""The repetition guard: finds loops, leaves sound text alone, and what it cuts stays cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.generation.repetition import cut_loop, find_loop, has_loop

tokens = st.lists(st.integers(0, 2), max_size=60)


@pytest.mark.parametrize(
    ("text", "loops", "cut"),
    [
        ("the cat sat on the mat", False, "the cat sat on the mat"),
        ("no no no", False, "no no no"),
        ("no no no no", True, "no"),
        ("so a b a b a b a b a and on", True, "so a b and on"),
        ("a b a b a b a c", False, "a b a b a b a c"),
        ("x a b c a b c a b c a b c", True, "x a b c"),
        ("a a a a b a a a a b", True, "a b a b"),
        ("", False, ""),
    ],
)
def test_examples(text, loops, cut):
    assert has_loop(text.split()) == loops
    assert cut_loop(text.split()) == cut.split()


def test_where_the_loop_is():
    assert find_loop("x a b a b a b a b a y".split()) == (1, 2, 10)


@given(tokens, st.integers(1, 6), st.integers(2, 5))
def test_cutting_removes_every_loop_and_nothing_else(tokens, max_ngram, min_repeats):
    options = {"max_ngram": max_ngram, "min_repeats": min_repeats}
    cut = cut_loop(tokens, **options)
    assert not has_loop(cut, **options)
    assert cut_loop(cut, **options) == cut
    if not has_loop(tokens, **options):
        assert cut == tokens
    remaining = iter(tokens)
    assert all(token in remaining for token in cut)  # a subsequence, in order


@given(tokens, st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(4, 7), tokens)
def test_a_planted_loop_is_found(before, period, repeats, after):
    assert has_loop([*before, *period * repeats, *after])


@given(tokens, st.integers(1, 5), st.integers(2, 4))
def test_agrees_with_the_definition(tokens, max_ngram, min_repeats):
    plain = any(
        tokens[start : start + n] * min_repeats == tokens[start : start + n * min_repeats]
        for n in range(1, max_ngram + 1)
        for start in range(len(tokens) - n * min_repeats + 1)
    )
    assert has_loop(tokens, max_ngram=max_ngram, min_repeats=min_repeats) == plain


def test_senseless_settings_are_refused():
    with pytest.raises(ValueError, match="min_repeats"):
        has_loop([1], min_repeats=1)
