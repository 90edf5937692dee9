"""Language identification: right on plain sentences, deterministic, honest about what it cannot tell."""

import pytest

from components.engines.base.errors import UsageError
from components.engines.text.language import guess_language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The weather is nice today and we are going for a walk.", "en"),
        ("Das Wetter ist heute schön und wir gehen spazieren.", "de"),
        ("Il fait beau aujourd'hui et nous allons nous promener.", "fr"),
        ("Hoy hace buen tiempo y vamos a dar un paseo.", "es"),
        ("Сегодня хорошая погода, и мы идём гулять.", "ru"),
    ],
)
def test_plain_sentences(text, code):
    guessed, confidence = guess_language(text)
    assert guessed == code
    assert 0.5 < confidence <= 1
    assert guess_language(text) == (guessed, confidence)


def test_restricting_the_languages_does_not_change_later_guesses():
    text = "Dat is een huis."
    before = guess_language(text)
    assert guess_language(text, ("de", "en"))[0] in ("de", "en")
    assert guess_language(text) == before


@pytest.mark.parametrize("text", ["", "  ", "123 456", "?!…"])
def test_text_without_letters_is_undetermined(text):
    assert guess_language(text) == ("und", 0.0)


def test_unknown_code_is_refused():
    with pytest.raises(UsageError, match="xx"):
        guess_language("hello", ("en", "xx"))
