"""Inclusive rewriting: what is changed, how, and what is left alone."""

import pytest

from components.engines.text.inclusive import DEMEANING, GENDER, GUESSES, OCCUPATIONS, PRONOUNS, Included, include

REWRITES = {
    # occupations
    "a fireman putting out a fire": "a firefighter putting out a fire",
    "two policemen on horses": "two police officers on horses",
    "an actress on a stage": "an actor on a stage",
    "a stewardess in an airplane": "a flight attendant in an airplane",
    "a waitress bringing food to a man": "a waiter bringing food to a person",
    "Fishermen pulling a net": "Fishers pulling a net",
    # gender that nobody asserted
    "a man cooking in a kitchen": "a person cooking in a kitchen",
    "a man's hat on a table": "a person's hat on a table",
    "two men playing tennis": "two people playing tennis",
    "A man and a woman sitting on a bench": "Two people sitting on a bench",
    "a boy and his dog": "a child and their dog",
    "a boy and a girl on a swing": "two children on a swing",
    "a woman holding her umbrella above her": "a person holding their umbrella above the person",
    "a man shaving himself": "a person shaving themselves",
    "Men at a bar. He drinks beer.": "People at a bar. The person drinks beer.",
    "a person riding his bike": "a person riding their bike",
    # what is not seen in people
    "an asian woman holding a cup": "a person holding a cup",
    "An African American man smiling": "A person smiling",
    "young asian american women": "young people",
    "a homeless man sleeping on a bench": "a person sleeping on a bench",
    "a handsome old man": "an old person",
    "a beautiful young woman with a dog": "a young person with a dog",
    "several fat men in a pool": "several people in a pool",
    "a muslim family at a table": "a family at a table",
    "a female doctor with a male nurse": "a doctor with a nurse",
    # demeaning words
    "a wheelchair-bound man near a door": "a wheelchair-using person near a door",
    "a person confined to a wheelchair": "a person using a wheelchair",
    "a hobo under an old bridge": "a person under an old bridge",
    "two illegal aliens at a border": "two people at a border",
}  # fmt: skip
KEPT = [
    "a large plain red square in the top left",
    "picture of a green circle that is small and striped, bottom right",
    "a black cat on a white chair",
    "an indian elephant beside an african lion",
    "a male lion and a female duck",
    "a fat cat, a poor harvest, a rich soil",
    "an oriental rug on a persian floor",
    "american flags and chinese lanterns",
    "a snowman and a gingerbread man",
    "a manhole cover, a mankini, a manor",
    "a spider-man costume",
    "the Isle of Man ferry",
    "a shelf of men's shoes and women's coats",
    "the sign says “men at work” beside \"Ladies Night\"",
    "a statue of a man on a horse",
    "a painting of a young woman with her cat",
    "a mother holding her baby",
    "a bride and her bouquet",
    "a cow and her calf",
    "the king on his throne",
    "a ladybird on a clover leaf",
    "a dog with its bone",
    "a tramping path, a bumper, a thug-life tattoo",
    "ein Mann kocht",
    "",
]  # fmt: skip


@pytest.mark.parametrize(("caption", "expected"), REWRITES.items())
def test_captions_are_written_anew(caption, expected):
    done = include(caption)
    assert done.text == expected
    assert done.reasons
    assert include(done.text).text == done.text


@pytest.mark.parametrize("caption", KEPT)
def test_what_is_no_guess_about_people_is_left_alone(caption):
    assert include(caption) == Included(caption, ())


def test_reasons_are_told():
    done = include("a homeless man in his tent with a cripple and a fireman")
    rules = (DEMEANING, GUESSES, OCCUPATIONS, GENDER)
    assert done.reasons == (*(rule.reason for rule in rules), PRONOUNS)
    assert done.text == "a person in their tent with a person with a disability and a firefighter"


def test_no_caption_grows_without_end_or_takes_long():
    assert include("a man " * 2000).text == ("a person " * 2000)
