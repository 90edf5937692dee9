"""What a mail's writer wrote is told from quotations, forwarded heads and signatures."""

import pytest

from components.engines.text.mail import unwrapped, written
from components.engines.text.pseudonyms import Pseudonyms, names_in

OWN = "Hi <NAME>,\nthat works for me.\nThanks,\n<NAME>"
ON = "On Tue, 3 Mar 2026 at 10:12, A B <<EMAIL>> wrote:\n> Hello <NAME>,\n> can we meet?\n>\n> On Mon, C wrote:\n>> older\n"
ORIGINAL = "-----Original Message-----\nFrom: A B\nSent: Tuesday\nTo: C\nSubject: x\n\nHello <NAME>,\ncan we meet?\n"


@pytest.mark.parametrize(
    "quotation",
    [
        ON,
        ORIGINAL,
        ORIGINAL.split("\n", 1)[1],
        "On Tue, a very long\nname <<EMAIL>> wrote:\n\n> Hello <NAME>,\n> can we meet?",
    ],
)
def test_what_is_quoted_is_what_was_answered(quotation):
    found = written(f"{OWN}\n\n{quotation}")
    assert (found.body, found.previous, found.cut) == (OWN, "Hello <NAME>,\ncan we meet?", ("quotation",))


@pytest.mark.parametrize(
    "signature",
    [
        "-- \nA B\nManager",
        "____________\nthis mail is confidential",
        "Sent from my phone",
        "A B | Manager\n<EMAIL> | <PHONE>",
        "<PHONE> (cell)\n<EMAIL>",
    ],
)
def test_signatures_are_cut(signature):
    found = written(f"{OWN}\n\n{signature}")
    assert (found.body, found.cut) == (OWN, ("signature",))


def test_a_sentence_with_contact_data_is_no_signature():
    text = "Hi <NAME>,\nplease call <PHONE>."
    assert written(text).body == text
    assert written(text).cut == ()


def test_forwarded_mails_are_cut_and_not_answered():
    found = written("FYI, see below.\n\n---------- Forwarded message ---------\nFrom: A\nHello")
    assert (found.body, found.previous, found.cut) == ("FYI, see below.", "", ("forwarded",))


def test_a_mail_of_quotation_only_has_nothing_of_its_own():
    assert written("> Hello\n> there").body == ""


def test_lines_that_a_program_wrapped_are_joined_and_others_are_not():
    wrapped = "This is a sentence of somebody whose program breaks lines where\nthey would be longer than a width, and goes on.\n"
    lines = [*wrapped.split("\n"), "Short one.", "Another.", "- item", "", "Kind regards,", "<NAME>"]
    assert unwrapped(lines).split("\n") == [
        wrapped.strip().replace("\n", " "),
        "Short one.",
        "Another.",
        "- item",
        "Kind regards,",
        "<NAME>",
    ]


def test_people_are_numbers_in_the_order_met():
    people = Pseudonyms()
    assert people.of("Anna B <anna@example.com>") == ["person-1"]
    assert people.of('"C, D" <c@example.com>, ANNA@example.com') == ["person-2", "person-1"]
    assert people.of("Hungerford, James") == ["person-3"]
    assert people.of("") == []


def test_the_words_of_names_are_known_from_heads_but_addresses_are_no_names():
    assert names_in('"Ward  Kim S (Houston)" <kim.ward@example.com>') == {"Ward", "Kim", "Houston"}
    assert names_in("anna@example.com") == set()
