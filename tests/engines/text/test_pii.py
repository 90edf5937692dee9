"""Personal data are found where they stand, and what only looks like them is left."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.text.pii import KINDS, find_personal, with_placeholders


def scrubbed(text, **options):
    return with_placeholders(text, find_personal(text, **options))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to anna.k+x@mail.example.org.", "Write to <EMAIL>."),
        ("<mailto:Anna@EXAMPLE.com>", "<mailto:<EMAIL>>"),
        ("see https://example.com/a?b=c&d=(e), or www.example.com.", "see <URL>, or <URL>."),
        ("Call 713-853-1234 or (713) 853-1234!", "Call <PHONE> or <PHONE>!"),
        ("+49 30 23125 123 and +1 (212) 555-0123", "<PHONE> and <PHONE>"),
        ("tel 2125550123, QUESTION--503-880-5315", "tel <PHONE>, QUESTION--<PHONE>"),
        ("fax x-37059, ext. 12345", "fax <PHONE>, <PHONE>"),
        ("server 192.0.2.7 and 2001:db8::1", "server <IP> and <IP>"),
        ("IBAN DE89 3704 0044 0532 0130 00 today", "IBAN <ACCOUNT> today"),
        ("GB82WEST12345698765432", "<ACCOUNT>"),
        ("my account number is 12345678.", "my account number is <ACCOUNT>."),
        ("SSN 123-45-6789", "SSN <ACCOUNT>"),
        ("card 4111 1111 1111 1111 or 378282246310005", "card <CARD> or <CARD>"),
        (" ".join(["4111 1111 1111 1111"] * 9), " ".join(["<CARD>"] * 9)),
        ("We are at 121 SW Salmon Street, Portland, OR 97204 now", "We are at <ADDRESS> now"),
        ("P.O. Box 1234, Houston, TX 77002", "<ADDRESS>"),
        ("Hi Anna,\nyes.\nBest regards,\nBen O'Brien", "Hi <NAME>,\nyes.\nBest regards,\n<NAME>"),
        ("Dear Dr. van der Berg:\n", "Dear <NAME>:\n"),
        ("Thanks,\n\nJean-Luc", "Thanks,\n\n<NAME>"),
    ],
)
def test_what_is_personal_has_a_placeholder_instead(text, expected):
    assert scrubbed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Order 482136 of 2026-03-04 costs 1,250.00 dollars, 12/01/2025 to 28/02/2026.",
        "Version 3.11.2, room 4.12, 10:30-11:45, 1999-2004, chapter 4, pages 112-118.",
        "card 4111 1111 1111 1112 has a wrong check digit",
        "IBAN DE88370400440532013000 has one, too",
        "999.1.2.3 is no address of a machine",
        "The street was closed, and the road too.",
        "Best practice\nTake care",
        "Dear me, that was close.",
        "he said: hello world",
    ],
)
def test_what_only_looks_like_it_is_left(text):
    assert find_personal(text) == []


def test_names_that_are_known_are_found_anywhere_as_whole_words():
    assert scrubbed("As Rosa told Rosalind, rosa is pink", names={"Rosa"}) == "As <NAME> told Rosalind, rosa is pink"


def test_the_region_reads_numbers_without_a_countrys_code():
    assert scrubbed("Ruf 030 23125 123 an", region="DE") == "Ruf <PHONE> an"


pieces = st.sampled_from(
    [
        "anna@example.com",
        "713-853-1234",
        "4111 1111 1111 1111",
        "192.0.2.1",
        "Hi Anna,\n",
        "x",
        " ",
        "-",
        ".",
        "7",
        "www.a.com",
        "\0",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=12).map("".join))
def test_spans_are_in_order_apart_and_of_known_kinds(text):
    spans = find_personal(text)
    assert all(one.end <= other.start for one, other in zip(spans, spans[1:], strict=False))
    assert all(0 <= one.start < one.end <= len(text) and one.kind in KINDS for one in spans)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=8).map(" ".join))
def test_no_address_or_number_that_stands_apart_is_left(text):
    left = scrubbed(text)
    assert "@example" not in left
    assert "853-1234" not in left
    assert "1111 1111" not in left


@pytest.mark.parametrize(
    "sign", ["a", "1", "a.", "1.", "1-", "1 ", "12 ", "4111 ", "a@", "x ", "1 St ", "http://", "A1", "Hi A", ":"]
)
def test_long_texts_of_one_sign_take_time_in_proportion(sign):
    started = time.process_time()
    find_personal(sign * 20_000)
    assert time.process_time() - started < 5
