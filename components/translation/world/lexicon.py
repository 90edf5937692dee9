"""The two vocabularies of the sample language pair: English, and Novese, a small Romance-like language made for it.

Novese words are spelled from the English ones by a fixed rule, so the lexicon is the same on every machine. Every noun has
a gender that shows in its ending (`-a` feminine, `-o` masculine); articles, adjectives and verbs must agree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

NOUNS = (
    "apple baker bird boat book bottle bridge brother camel candle captain carpet castle cat chair child cook "
    "cousin cow dentist doctor dog donkey door dragon farmer fisher flag flower fox friend garden gardener girl "
    "goat guest hammer hat horse judge king knight ladder lamp lion mayor merchant miller mirror monkey mother "
    "neighbour nurse painter parrot pilot queen rabbit sailor singer"
).split()
ADJECTIVES = (
    "angry big blue brave bright calm clever cold dark fast funny gentle green happy heavy hungry kind lazy little "
    "loud new old proud quiet red"
).split()
VERBS = (
    "admire answer avoid bless bring call carry catch clean count cover draw dream fear feed find follow greet "
    "guard hear help hide hold hunt invite know lift lose love miss move need paint praise push remember see sell "
    "thank watch"
).split()
ADVERBS = ("again always boldly early easily gladly later never often quickly rarely sadly slowly softly today").split()

# English words with two senses. The verb decides which one is meant, wherever it stands in the sentence.
POLYSEMES = ("bat", "crane", "jaguar", "mole", "seal")
ANIMAL_VERBS = frozenset(VERBS[::2])

# English words that translators render freely: one compact word, or a phrase whose second half varies. The compact word is
# the single most frequent translation, the phrases together are more frequent: greedy decoding walks into the phrase,
# beam search finds the word.
FREE_NOUNS = ("anchor", "banner", "compass", "drum", "engine", "feather")
COMPACT_SHARE = 0.42
FREE_VARIANTS = 5

_ONSETS = ("b", "br", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "tr", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")


@dataclass(frozen=True)
class Noun:
    """One noun of the target language."""

    stem: str
    feminine: bool

    @property
    def singular(self) -> str:
        return self.stem + ("a" if self.feminine else "o")

    @property
    def plural(self) -> str:
        return self.stem + ("e" if self.feminine else "i")


@cache
def stem(word: str, kind: str) -> str:
    """A pronounceable stem for an English word: two or three syllables spelled from its hash, ending in a consonant."""
    digest = hashlib.sha256(f"{kind}/{word}".encode()).digest()
    syllables = 2 + digest[0] % 2
    letters = [
        _ONSETS[digest[2 * i + 1] % len(_ONSETS)] + _VOWELS[digest[2 * i + 2] % len(_VOWELS)] for i in range(syllables)
    ]
    return "".join(letters) + "nrlstvm"[digest[20] % 7]


@cache
def noun(word: str, sense: str = "") -> Noun:
    digest = hashlib.sha256(f"gender/{word}/{sense}".encode()).digest()
    return Noun(stem(word, f"noun{sense}"), feminine=digest[0] % 2 == 0)


@cache
def nouns_by_form() -> dict[str, tuple[Noun, bool]]:
    """Every noun form of the target language -> (noun, is plural), to check agreement in any sentence."""
    known = [noun(word) for word in (*NOUNS, *FREE_NOUNS)]
    known += [noun(word, sense) for word in POLYSEMES for sense in ("animal", "thing")]
    known += [noun(word, "phrase") for word in FREE_NOUNS]
    forms: dict[str, tuple[Noun, bool]] = {}
    for one in known:
        forms[one.singular] = (one, False)
        forms[one.plural] = (one, True)
    return forms


@cache
def adjective_stems() -> frozenset[str]:
    return frozenset(stem(word, "adjective") for word in ADJECTIVES)


@cache
def verb_stems() -> frozenset[str]:
    return frozenset(stem(word, "verb") for word in VERBS)


def article(feminine: bool, plural: bool) -> str:
    return {(True, False): "la", (True, True): "le", (False, False): "il", (False, True): "gli"}[feminine, plural]


def adjective(word: str, feminine: bool, plural: bool) -> str:
    ending = {(True, False): "a", (True, True): "e", (False, False): "o", (False, True): "i"}[feminine, plural]
    return stem(word, "adjective") + ending


def verb(word: str, past: bool, plural: bool) -> str:
    """Verbs stand last and agree in number with their subject."""
    return (
        stem(word, "verb")
        + {(False, False): "at", (False, True): "ant", (True, False): "iv", (True, True): "ivan"}[past, plural]
    )
