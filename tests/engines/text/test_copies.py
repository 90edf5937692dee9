"""Texts that nearly repeat an earlier one are found, in their group."""

import random

from components.engines.text.copies import NearCopies

WORDS = [f"word{number}" for number in range(500)]


def shingles(text):
    words = text.split()
    return {tuple(words[start : start + 3]) for start in range(len(words) - 2)}


def test_near_copies_are_found_as_the_true_similarity_says():
    rng, copies, right = random.Random(0), NearCopies(0.8), 0
    for number in range(100):
        text = rng.choices(WORDS, k=60)
        changed = list(text)
        for place in rng.sample(range(60), rng.choice((0, 1, 8))):
            changed[place] = "other"
        one, other = shingles(" ".join(text)), shingles(" ".join(changed))
        assert copies.original(f"{number}", " ".join(text)) is None
        found = copies.original(f"{number}-changed", " ".join(changed))
        right += (found == f"{number}") == (len(one & other) / len(one | other) >= 0.8)
    assert right >= 97  # an estimate: near the threshold it may fail


def test_only_texts_of_one_group_are_copies_of_each_other():
    copies = NearCopies(0.9)
    assert copies.original("a", "Thanks a lot", "anna") is None
    assert copies.original("b", "Thanks a lot", "ben") is None
    assert copies.original("c", "Thanks, a LOT!", "anna") == "a"
    assert copies.original("d", "", "anna") is None
