"""Renamed examples still answer themselves: what stood in a passage and in the answer stands in both."""

import random

from hypothesis import given
from hypothesis import strategies as st

from components.rag.measures.renaming import Renaming, misnamed, names_of

TEXTS = [
    "The Willow ladder shows 42 kilograms. Elgin supplies it, as Elgin did 7 years ago.",
    "Buyers pay 90 euros for the Maple ladder, and Mira Holt leads the Maple yard.",
    "The word The begins a sentence. We know that the Word is nobody's name.",
    "name: Elgin; price: 42 euros",
]


def test_names_are_words_with_a_capital_within_a_sentence_that_are_never_written_without():
    assert names_of(TEXTS) == ["Elgin", "Holt", "Maple", "Mira", "Willow"]


@given(st.integers(0, 10_000))
def test_everything_keeps_its_place_and_equal_things_stay_equal(seed):
    say = Renaming(names_of(TEXTS), random.Random(seed))
    said = [say(text) for text in TEXTS]
    assert said == [say(text) for text in TEXTS]
    assert [len(one.split()) for one in said] == [len(text.split()) for text in TEXTS]
    assert say("42 kilograms") in said[0]
    assert say("Mira Holt") in said[1]
    assert say("Elgin") in said[0]
    assert say("Elgin") in said[3]
    assert len({say(name) for name in names_of(TEXTS)}) == 5
    assert len(say("90")) == 2
    assert say("nobody knows The Word") == "nobody knows The Word"


@given(st.integers(0, 10_000))
def test_a_misnamed_passage_tells_the_same_of_another_name(seed):
    names = names_of(TEXTS)
    question, passage = "Who leads the Maple yard?", TEXTS[1]
    said = misnamed(passage, question, names, random.Random(seed))
    (other,) = {*names} & {*said.split()} - {"Mira", "Holt"}  # those stand in the passage alone, and stay
    assert other not in {"Maple", "Mira", "Holt"}
    assert said == passage.replace("Maple", other)


def test_a_passage_that_shares_no_name_with_the_question_is_not_misnamed():
    assert misnamed(TEXTS[1], "Who leads the Elgin yard?", names_of(TEXTS), random.Random(0)) is None
    assert misnamed(TEXTS[1], "Who leads the Maple yard?", ["Maple"], random.Random(0)) is None
