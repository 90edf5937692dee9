"""When something is suggested, and when never: after a deletion, in personal data, below the threshold; and that reuse
changes nothing."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.base.errors import BadRecord
from components.engines.text.pii import PLACEHOLDERS, find_personal
from components.smart_compose.architecture import Composing, Debounce
from components.smart_compose.measures.filters import bias_figures
from components.smart_compose.serve import SmartCompose
from components.smart_compose.serving.bias import biased
from components.smart_compose.serving.composer import typed_along
from components.smart_compose.serving.debounce import Pace
from components.smart_compose.serving.finishing import finish
from components.smart_compose.serving.trigger import Keystroke, moment
from tests.smart_compose.writer import composer, mails

BEGUN = "Dear Anna,\nI hope this mail finds you well. Please let me kn"
PERSONAL = [
    "+1 415 555 2671",
    "anna@example.com",
    "https://example.com/a",
    "4111 1111 1111 1111",
    "10.0.0.1",
    "<PHONE>",
]
SIGNED = "Dear Anna,\nI hope this mail finds you well.\nKind regards,\n"


@pytest.fixture(scope="module")
def writer():
    return composer(threshold=0.2)


@st.composite
def beginnings(draw):
    """What somebody has typed of a mail of the grammar, perhaps with something personal or with other letters at its end."""
    one = draw(st.sampled_from(mails(40, seed=3)))
    body = one.texts["body"]
    typed = body[: draw(st.integers(0, len(body)))]
    tail = draw(st.sampled_from(["", "", "", "x", " ", "\n", "é", *PERSONAL]))
    return one, typed + tail


@settings(max_examples=60, deadline=None)
@given(beginnings(), st.sampled_from(["type", "delete", "select", "manual"]), st.sampled_from(["", "e rest", " rest"]))
def test_a_suggestion_is_sure_lawful_and_never_personal(writer, begun, event, following):
    one, typed = begun
    keystroke = Keystroke(typed, one.texts["subject"], one.texts["previous"], following, event)
    answer = writer.answer(keystroke)
    if event in ("delete", "select") or following[:1].strip():
        assert answer.suggestion is None
    if answer.suggestion is None:
        assert answer.reason
        return
    made = answer.suggestion
    assert made.confidence >= writer.threshold
    assert len(made.text) >= writer.composing.min_chars
    assert len(made.text.split()) <= writer.composing.search.max_words
    assert not any(mark in made.text for mark in (*PLACEHOLDERS, "<previous>", "<body>", "</s>", "\n"))
    assert biased(typed, made.text) is None
    spans = find_personal(typed + made.text)
    assert all(span.end < len(typed) for span in spans), "the cursor stood in personal data, or some was suggested"


@pytest.mark.parametrize("personal", PERSONAL)
def test_nothing_is_suggested_while_personal_data_is_typed(writer, personal):
    for size in range(1, len(personal) + 1):
        typed = f"Dear Anna,\nPlease write to {personal[:size]}"
        now = moment(Keystroke(typed), writer.composing, "US")
        looks_like_words = re.fullmatch(r"[a-z]+|https?:?", personal[:size])
        assert now.reason or looks_like_words, typed
    assert writer.answer(Keystroke(f"Dear Anna,\nPlease write to {personal}")).suggestion is None


def test_what_the_model_has_seen_replaced_is_replaced_for_it_when_it_is_typed(writer):
    now = moment(Keystroke("Dear Anna,\nMy number is +1 415 555 2671. Ple"), writer.composing, "US")
    assert now.typed == "Dear <NAME>,\nMy number is <PHONE>. Ple"


def test_the_writer_suggests_and_a_higher_threshold_suggests_less():
    shown = []
    for threshold in (0.1, 0.5, 0.9, 1.0):
        asked = composer(threshold)
        found = [asked.answer(Keystroke(BEGUN[:n], "Meeting on Friday")).suggestion for n in range(12, len(BEGUN), 2)]
        shown.append(sum(one is not None for one in found))
    assert shown == sorted(shown, reverse=True)
    assert shown[0] > shown[-1]


def test_typing_along_keeps_the_suggestion_and_its_id_and_anything_else_drops_it(writer):
    def ask(typed, **more):
        return writer.answer(Keystroke(typed, "Meeting on Friday", session="along", **more)).suggestion

    first = next(one for one in (ask(BEGUN[:n]) for n in range(15, len(BEGUN))) if one and len(one.text) > 6)
    typed = first.at.typed
    computed = writer.sessions["along"].prefix.computed
    for size in range(1, 5):
        later = ask(typed + first.text[:size])
        if later is None:  # the trigger has the first word
            continue
        assert (later.id, later.confidence) == (first.id, first.confidence)
        assert later.text == first.text[size:]
    assert writer.sessions["along"].prefix.computed == computed
    assert ask(typed + first.text[:3], event="delete") is None
    assert typed_along(Keystroke(typed + "~", "Meeting on Friday"), first) is None
    assert typed_along(Keystroke(typed + first.text[:2], "another mail"), first) is None


def test_a_session_answers_what_a_fresh_start_answers_with_a_third_of_the_work(writer):
    one = mails(1, seed=9)[0]
    body, fresh_work = one.texts["body"], 0
    for size in [*range(1, len(body), 2), 10, 30]:
        keystroke = Keystroke(body[:size], one.texts["subject"])
        now = moment(keystroke, writer.composing, "US")
        if now.reason:
            continue
        session = writer._session(None)
        alone = writer.look(now, session, 0.2)
        fresh_work += session.prefix.computed
        kept = writer.look(now, writer._session("kept"), 0.2)
        assert {n: one.text for n, one in kept.phrases.items()} == {n: one.text for n, one in alone.phrases.items()}
        for n, phrase in kept.phrases.items():
            assert phrase.probability == pytest.approx(alone.phrases[n].probability, rel=1e-3)
    assert writer.sessions["kept"].prefix.computed * 3 < fresh_work


def test_the_trigger_knows_where_in_a_word_the_cursor_stands_and_when_it_is_asked_by_hand():
    rules = Composing(min_letters=3)
    assert moment(Keystroke("Please le"), rules, "US").reason == "too little of the word is typed"
    assert moment(Keystroke("Please let"), rules, "US").reason is None
    assert moment(Keystroke("Please le", event="manual"), rules, "US").reason is None
    assert moment(Keystroke("Please let", following="s go"), rules, "US").reason == "the cursor stands within a word"
    assert moment(Keystroke("x" * 31), rules, "US").reason == "the word is too long"


def test_the_debounce_follows_the_typist_and_the_answers():
    quick, slow = Pace(Debounce(min_ms=10, max_ms=400)), Pace(Debounce(min_ms=10, max_ms=400))
    assert quick.wait_ms == 10
    for _ in range(30):
        quick.pressed(120)
        quick.answered(40)
        slow.pressed(120)
        slow.answered(900)
    assert quick.wait_ms == pytest.approx(40)
    assert slow.wait_ms == pytest.approx(120)
    for _ in range(60):
        slow.pressed(5_000)
    assert slow.wait_ms == 400


@pytest.mark.parametrize(
    ("typed", "phrase", "finished"),
    [
        ("Hi Anna,\n", "thanks for  your mail .", "Thanks for your mail."),
        ("It is late. ", "see you", "See you"),
        ("I hope ", " this is fine ", "this is fine"),
        ("I hope", " this (or", " this"),
        ("i never write with capitals in my mails. ", "See You", "see you"),
        ("", "hello", "Hello"),
        ("Plea", 'se read "the', "se read"),
    ],
)
def test_post_processing(typed, phrase, finished):
    assert finish(typed, phrase) == finished


def test_the_bias_filter_on_its_labelled_cases():
    figures = bias_figures()
    assert figures["bias_recall"] >= 0.95
    assert figures["bias_precision"] >= 0.95


def test_what_is_served_answers_and_says_what_it_cannot_use(writer):
    served = SmartCompose(writer, max_chars=500)
    asked = [
        *SmartCompose.example,
        {"typed": 5},
        {"typed": "x" * 501},
        {"typed": "a", "event": "jump"},
        {"typed": "a", "elapsed_ms": float("nan")},
        {},
        {"typed": "Dear Anna", "event": "delete", "elapsed_ms": 90},
    ]
    answers = served.predict(asked)
    assert [answer["problem"] is None for answer in answers] == [True, True, False, False, False, False, True, True]
    assert answers[-1]["refused"] == "after a deletion"
    assert answers[-1]["wait_ms"] == 10
    assert all(answer["suggestion"] or answer["refused"] or answer["problem"] for answer in answers)
    again = served.predict(SmartCompose.example)
    assert again == served.predict(SmartCompose.example)
    with pytest.raises(BadRecord, match="event"):
        Keystroke.read({"typed": "a", "event": "\x1b[2J"}, 10)
