"""Post-processing of a phrase: casing and punctuation as the text before it asks for."""

from __future__ import annotations

import re

_LOWER_AFTER = 20  # letters without a capital, after which somebody is taken to write without any


def finish(typed: str, phrase: str) -> str:
    """The phrase as it may stand behind `typed`; "" where nothing is left of it.

    A sentence begins with a capital, unless the typist uses none. No space is doubled or stands before a mark that closes; an
    opening mark without an end is cut off with what follows it.
    """
    text = re.sub(r"\s+", " ", phrase)
    text = re.sub(r" (?=[,.;:!?)\]}])", "", text)
    if not typed or typed[-1].isspace():
        text = text.lstrip()
    text = _without_open(text).rstrip()
    letters = [sign for sign in typed if sign.isalpha()]
    if len(letters) >= _LOWER_AFTER and not any(sign.isupper() for sign in letters):
        return text.lower()
    if _STARTS.search(typed) or not typed.strip():
        begun = len(text) - len(text.lstrip())
        return text[:begun] + text[begun : begun + 1].upper() + text[begun + 1 :]
    return text


def _without_open(text: str) -> str:
    for opening, closing in ("()", "[]", "{}", "“”"):
        if text.count(opening) > text.count(closing):
            text = text[: text.rindex(opening)]
    return text[: text.rindex('"')] if text.count('"') % 2 else text


_STARTS = re.compile(r"(?:[.!?]\s+|\n\s*)$")
