"""The sample language pair: learnable, checkable, and dirty in the ways it says."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.translation.world import lexicon as lx
from components.translation.world.grammar import DIRT, agreement, draw_pairs, is_held_out, with_dirt


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_every_translation_agrees_with_itself(seed):
    for pair in draw_pairs(30, 10, seed):
        right, checked = agreement(pair["target"])
        assert right == checked > 0


def test_agreement_notices_each_kind_of_error():
    sentence = next(
        pair["target"]
        for pair in draw_pairs(2000, 0, 1)
        if pair["target"].split()[0] == "la" and pair["target"].split()[2][:-1] in lx.adjective_stems()
    )
    right, checked = agreement(sentence)
    words = sentence.rstrip(".").split()
    wrong_article = " ".join(["il", *words[1:]])
    wrong_adjective = " ".join([*words[:2], words[2][:-1] + "i", *words[3:]])
    for spoilt in (wrong_article, wrong_adjective):
        assert agreement(spoilt) == (right - 1, checked)
    assert agreement("") == (0, 1)
    assert agreement("the red cat sees the dog.") == (0, 1)


def test_equal_seeds_give_equal_pairs_and_others_do_not():
    draw = lambda seed: list(with_dirt(draw_pairs(200, 20, seed), 0.1, seed))  # noqa: E731
    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_no_test_sentence_is_in_the_training_pool_and_some_combinations_are_only_there():
    pairs = list(draw_pairs(5000, 300, 0))
    pool = {pair["source"] for pair in pairs if pair["split_hint"] == "pool"}
    test = [pair for pair in pairs if pair["split_hint"] == "test"]
    assert not pool & {pair["source"] for pair in test}
    assert {pair["combination"] for pair in test} == {"seen", "unseen"}
    for source in pool:
        words = source.rstrip(".").split()
        for adjective, noun in zip(words, words[1:], strict=False):
            assert not (adjective in lx.ADJECTIVES and noun in lx.NOUNS and is_held_out(adjective, noun))


def test_the_sense_of_an_ambiguous_word_follows_from_the_verb():
    senses = {(verb in lx.ANIMAL_VERBS) for verb in lx.VERBS}
    assert senses == {True, False}
    assert lx.noun("bat", "animal") != lx.noun("bat", "thing")


def test_free_words_have_one_most_frequent_rendering_which_the_test_split_uses():
    """Greedy decoding starts the phrase (all variants together are likelier), the compact word alone is likeliest."""
    assert lx.COMPACT_SHARE > (1 - lx.COMPACT_SHARE) / lx.FREE_VARIANTS
    assert lx.COMPACT_SHARE < 0.5
    word = lx.FREE_NOUNS[0]
    compact = {lx.noun(word).singular, lx.noun(word).plural}
    test = [p["target"] for p in draw_pairs(0, 2000, 0) if p["source"].startswith(f"the {word}")]
    assert test
    assert all(target.split()[1] in compact for target in test)


def test_dirt_is_labelled_and_as_frequent_as_asked():
    pairs = list(with_dirt(draw_pairs(4000, 100, 0), 0.1, 0))
    kinds = Counter(pair["dirt"] for pair in pairs)
    assert set(kinds) == {"", *DIRT}
    assert sum(count for kind, count in kinds.items() if kind) == pytest.approx(400, rel=0.25)
    assert not any(pair["dirt"] for pair in pairs if pair["split_hint"] == "test")


def test_forms_of_the_lexicon_are_unambiguous():
    known = len(lx.NOUNS) + 2 * len(lx.FREE_NOUNS) + 2 * len(lx.POLYSEMES)
    assert len(lx.nouns_by_form()) == 2 * known
    stems = [
        lx.stem(word, kind) for kind, words in (("adjective", lx.ADJECTIVES), ("verb", lx.VERBS)) for word in words
    ]
    assert len(set(stems)) == len(stems)
