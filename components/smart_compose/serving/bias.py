"""The bias filter: what a suggestion may not say of people unless the writer has said it already.

A mail does not show who is spoken of, and models guess by stereotype: Gmail's Smart Compose suggests no gendered pronouns for
that reason (Caliskan et al. 2017, doi:10.1126/science.aal4230, on where the stereotypes come from). Words that demean, that
name an occupation or a person by gender, or guess at origin and looks are those of engines/text/inclusive.py. English only.
"""

from __future__ import annotations

import re

from components.engines.text.inclusive import DEMEANING, GENDER, GUESSES, OCCUPATIONS, PEOPLE

_PRONOUNS = "he she him her his hers himself herself".split()
_HONORIFICS = "mr mrs ms miss sir madam ma'am".split()
_PEOPLE = "|".join(sorted(map(re.escape, PEOPLE), key=len, reverse=True))


def _any(words: list[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(words, key=len, reverse=True))


_FOUND = re.compile(
    rf"(?<![\w-])(?:(?P<word>{_any([*_PRONOUNS, *_HONORIFICS, *GENDER.words, *OCCUPATIONS.words, *DEMEANING.words])})(?![\w-])"
    rf"|(?P<guess>{_any([*GUESSES.words])})(?=\s+(?:{_PEOPLE})\b))",
    re.IGNORECASE,
)


def biased(typed: str, suggestion: str) -> str | None:
    """The first word of the suggestion that the filter stops, or None. A word that the mail has already is the writer's own."""
    last = len(typed) - len(typed.rsplit(maxsplit=1)[-1]) if typed and not typed[-1].isspace() else len(typed)
    known = {found[0].lower() for found in _FOUND.finditer(typed[:last])}
    behind = typed[last:] + suggestion  # a word that is begun counts whole
    return next((found[0] for found in _FOUND.finditer(behind) if found[0].lower() not in known), None)
