"""What is measured of suggestions, on a composer whose answers are known."""

import pytest

from components.engines.generation.phrases import Phrase
from components.engines.language.records import Record
from components.smart_compose.measures.coverage import Tried, at_coverage, exact_match, threshold_for
from components.smart_compose.measures.places import Place, at, cursors, draw_places, is_right
from components.smart_compose.measures.settings import Typist
from components.smart_compose.measures.typist import type_mails
from components.smart_compose.serving.composer import Answer, Suggestion
from components.smart_compose.serving.trigger import Keystroke

BODY = "Hi <NAME>,\nsee you on Monday\nKim"
MAIL = Record("m", {"subject": "s", "previous": "", "body": BODY}, {})


def knowing(text, words=2):
    """A composer that knows the mail, and suggests the next `words` words of a line."""

    def ask(keystroke):
        rest = text[len(keystroke.typed) :].split("\n")[0]
        begun = len(rest) - len(rest.lstrip())
        made = rest[:begun] + " ".join(rest.split()[:words])
        suggestion = Suggestion(made, 1.0, "id", keystroke) if len(made) > 1 and "<" not in made else None
        return Answer(suggestion, None if suggestion else "no"), 10.0

    return ask


def test_a_typist_saves_what_a_perfect_composer_is_worth_and_nothing_with_none():
    best = type_mails([MAIL], knowing(BODY), Typist())
    # H, i, space, the name pasted, comma, line; "see you" and " on Monday" taken, line, "Kim" taken
    assert (best.chars, best.taken, best.wrong) == (len(BODY), 3, 0)
    assert best.keys == 3 + 7
    nothing = type_mails([MAIL], lambda keystroke: (Answer(None, "no"), 0.0), Typist())
    assert nothing.keys == len(BODY) - len("NAME>")  # the name is pasted with one key
    assert nothing.taken == 0


def test_suggestions_that_come_too_late_or_are_wrong_are_not_taken():
    late = type_mails([MAIL], lambda keystroke: (knowing(BODY)(keystroke)[0], 150.0), Typist(chars_per_second=5))
    assert (late.shown, late.taken) == (0, 0)
    wrong = type_mails([MAIL], lambda k: (Answer(Suggestion("zz", 1.0, "id", k), None), 0.0), Typist())
    assert wrong.wrong == wrong.shown > 0
    assert wrong.saved < 0.3


def test_a_cursor_stands_neither_in_personal_data_nor_at_a_lines_end():
    stand = cursors(BODY)
    assert not {BODY[place] for place in stand} & {"\n"}
    assert not set(stand) & set(range(BODY.index("<") + 1, BODY.index(">") + 2))
    assert BODY.index("<") in stand
    assert at(MAIL, BODY.index("you")).rest == "you on Monday"
    assert draw_places([MAIL], 3, 0) == draw_places([MAIL], 3, 0) != draw_places([MAIL], 3, 1)
    assert len(draw_places([MAIL], 999, 0)) == len(stand)


def test_right_is_what_comes_next_up_to_the_end_of_a_word():
    assert is_right("you on Monday", "you on")
    assert not is_right("you on Monday", "you o")
    assert is_right("you on Monday", "you o", whole_words=False)
    assert is_right("you", "you")
    assert not is_right("you", "your")


def tried(rest, *phrases):
    found = {len(text.split()): Phrase(text, len(text.split()), p) for text, p in phrases}
    return Tried(Place("m", Keystroke("x "), rest), True, found, None, None)


def test_exact_match_counts_places_with_so_many_words_left():
    asked = [tried("a b c", ("a b", 0.9)), tried("a b", ("a x", 0.4)), tried("a", ("a", 0.9)), tried("a b c d")]
    assert exact_match(asked, 2) == pytest.approx(1 / 3)
    assert exact_match(asked, 1) == pytest.approx(1 / 4)
    assert exact_match(asked, 5) is None
    half = at_coverage(asked, 2, 0.3)
    assert half == {"exact_match": 1.0, "threshold": 0.9}
    assert at_coverage(asked, 2, 1.0)["exact_match"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.9])
def test_the_threshold_gives_the_coverage_asked_for(coverage):
    confidences = [place / 1000 for place in range(1000)]
    found = threshold_for(confidences, coverage, 0.0)
    assert sum(one >= found for one in confidences) / 1000 == pytest.approx(coverage, abs=0.002)
    assert threshold_for(confidences, 0.99, 0.3) == 0.3
