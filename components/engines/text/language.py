"""Which language a text is in, and how many words it has.

The language is py3langid's guess: a bundled naive-Bayes model over byte n-grams (offline, deterministic).
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

from components.engines.base.errors import UsageError

# Scripts without spaces between words, and how many of their signs a word has on average: Chinese; Japanese syllables; Thai and
# Lao; Burmese and Khmer.
_UNSPACED = (
    (re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"), 1.6),
    (re.compile("[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d]"), 2.5),
    (re.compile("[\u0e00-\u0eff]"), 4.5),
    (re.compile("[\u1000-\u109f\u1780-\u17ff]"), 5.0),
)
UNKNOWN = "und"  # ISO 639-2 for "undetermined"


def guess_language(text: str, languages: tuple[str, ...] | None = None) -> tuple[str, float]:
    """(ISO 639-1 code, confidence in 0..1) of the likeliest language; ("und", 0.0) for text without a letter.

    `languages` restricts the choice, which helps much on short sentences (measured on Tatoeba's de, en, es, fr, it, nl:
    .986 unrestricted, .997 restricted to those six). Raises UsageError for a code that the model does not know.
    """
    if not any(sign.isalpha() for sign in text):
        return UNKNOWN, 0.0
    code, confidence = _identifier(languages).classify(text)
    return str(code), round(float(confidence), 6)


def chance_of(text: str, code: str) -> float:
    """The probability that a text is in the language `code`, among all that the model knows; 1.0 for text without a letter."""
    if not any(sign.isalpha() for sign in text):
        return 1.0
    identifier = _identifier(None)
    if code not in identifier.labels:
        _identifier((code,))  # refuses it
    return float(dict(identifier.rank(text))[code])


@cache
def _identifier(languages: tuple[str, ...] | None) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    unknown = sorted(set(languages or ()) - known)
    if unknown:
        raise UsageError(
            f"The language identifier does not know {', '.join(unknown)}",
            do=f"use ISO 639-1 codes among: {', '.join(sorted(known))}",
        )
    if languages is not None:
        identifier.set_languages(languages)
    return identifier


def count_words(text: str) -> int:
    """How many words a text has: by its spaces, and by the number of signs where a script writes none between words.

    Punctuation that stands alone is no word (French `« Oui » !`, dashes between spaces).
    """
    estimated, spaced = 0.0, text
    for signs, per_word in _UNSPACED:
        spaced, met = signs.subn(" ", spaced)
        estimated += met / per_word
    return math.ceil(estimated) + sum(any(map(str.isalnum, word)) for word in spaced.split())
