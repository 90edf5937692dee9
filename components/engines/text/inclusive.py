"""Inclusive captions: gendered and demeaning words, and what cannot be seen in people, are written anew; nothing else is.

A picture shows neither gender nor origin, faith or wealth: models guess them, and guess by stereotype (Hendricks et al. 2018,
arXiv:1803.09797; Zhao et al. 2021, arXiv:2106.08503). Words follow the APA's and the UN's guidelines for inclusive language. The
rules are the tables below, each with its reason. They are for English; captions in other languages pass unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Rule:
    """Words (lower case, singular and plural apart) and what stands for them; "" drops the word."""

    reason: str
    words: dict[str, str]
    before_person: bool = False  # only where a word of PEOPLE follows, perhaps after other such words


def _pairs(table: str) -> dict[str, str]:
    """`old = new` per line; several old ones share a new one, separated by commas."""
    lines = [line.split("=") for line in table.strip().splitlines()]
    return {old.strip(): new.strip() for olds, new in lines for old in olds.split(",")}


DEMEANING = Rule(
    "demeans people with a disability, an illness or little money",
    _pairs("""
        wheelchair-bound, wheelchair bound = wheelchair-using
        confined to a wheelchair = using a wheelchair
        cripple = person with a disability
        cripples = people with disabilities
        handicapped person = person with a disability
        handicapped people = people with disabilities
        midget, dwarf person = person of short stature
        midgets = people of short stature
        deaf and dumb, deaf-mute = deaf
        mentally retarded = intellectually disabled
        hobo, bum, vagrant, tramp = person
        hobos, bums, vagrants, tramps = people
        thug = person
        thugs = people
        illegal alien, illegal immigrant = person
        illegal aliens, illegal immigrants = people
    """),
)
OCCUPATIONS = Rule(
    "names an occupation by one gender",
    _pairs("""
        fireman = firefighter
        firemen = firefighters
        policeman, policewoman = police officer
        policemen, policewomen = police officers
        mailman, postman = mail carrier
        mailmen, postmen = mail carriers
        stewardess, air hostess = flight attendant
        stewardesses, air hostesses = flight attendants
        waitress = waiter
        waitresses = waiters
        businessman, businesswoman = businessperson
        businessmen, businesswomen = businesspeople
        salesman, saleswoman, saleslady = salesperson
        salesmen, saleswomen, salesladies = salespeople
        chairman, chairwoman = chairperson
        cameraman = camera operator
        cameramen = camera operators
        repairman = repairer
        repairmen = repairers
        workman = worker
        workmen = workers
        fisherman = fisher
        fishermen = fishers
        sportsman, sportswoman = athlete
        sportsmen, sportswomen = athletes
        horseman, horsewoman = rider
        horsemen, horsewomen = riders
        actress = actor
        actresses = actors
        housewife = homemaker
        housewives = homemakers
        cleaning lady = cleaner
    """),
)
GUESSES = Rule(
    "guesses at origin, faith, wealth, looks or gender, none of which is seen in a picture",
    dict.fromkeys(
        (
            "asian african african-american american arab arabic black white caucasian chinese european hispanic indian "
            "japanese korean latino latina mexican middle-eastern oriental jewish muslim christian hindu buddhist gay lesbian "
            "straight homeless poor rich wealthy beautiful handsome pretty ugly attractive sexy hot fat obese overweight male "
            "female"
        ).split(),
        "",
    ),
    before_person=True,
)
GENDER = Rule(
    "guesses at gender",
    _pairs("""
        man, woman, guy, lady, gentleman, dude = person
        men, women, guys, ladies, gentlemen, dudes = people
        boy, girl = child
        boys, girls = children
    """),
)
# Tidies up after GENDER: "a man and a woman" has become this.
TIDIED = _pairs("""
    a person and a person = two people
    a child and a child = two children
    people and people = people
    children and children = children
""")
PRONOUNS = "guesses at gender by a pronoun"

# Who GUESSES may be about.
PEOPLE = frozenset(
    [
        *(*GENDER.words, *OCCUPATIONS.words, *OCCUPATIONS.words.values()),
        *"person people child children kid kids baby couple crowd family teenager adult doctor nurse player skier".split(),
    ]
)
# A gender that is no guess: pronouns of a caption with one of these words are left alone. Of animals it is told by sight.
ASSERTED = frozenset(
    "mother mom mum father dad bride groom bridegroom king queen prince princess wife husband sister brother daughter son "
    "grandmother grandfather pregnant nun monk goddess cow bull hen rooster lioness mare stallion ewe ram doe sow drake".split()
)
# Names, products and things, which say nothing of anyone who is seen. Plural possessives ("men's shoes") are kept besides.
NAMES = (
    "isle of man;iron man;spider man;best man;burning man;gingerbread man;man of war;man in the moon;man overboard;men at work;"
    "men in black;old man of storr;boy scout;boy scouts;girl scout;girl scouts;boy band;girl band;first lady;lady luck;"
    "lady liberty;our lady;ladies room;pretty woman;super man;bat man"
).split(";")
# What is made in somebody's likeness has the gender it was given.
LIKENESSES = "statue sculpture bust painting portrait drawing figurine doll mannequin cartoon sign silhouette".split()


@dataclass(frozen=True)
class Included:
    """A caption as it may be shown, and why it was changed (nothing where it was not)."""

    text: str
    reasons: tuple[str, ...]


def include(caption: str) -> Included:
    """Apply the rules. What stands in double quotation marks (text that is seen in the picture) is never changed."""
    kept: list[str] = []
    text = _PROTECTED.sub(partial(_put_aside, kept), caption)
    reasons = []
    for rule in (DEMEANING, GUESSES, OCCUPATIONS, GENDER):
        before = text
        while (changed := _PATTERNS[rule.reason].sub(partial(_replaced, rule.words), text)) != text:
            text = changed  # again: a dropped word may have had another before it
        if text != before:
            reasons.append(rule.reason)
    text = _TIDY.sub(lambda found: _cased(TIDIED[found[0].lower()], found[0]), text)
    neutral = _without_pronouns(text)
    if neutral != text:
        reasons.append(PRONOUNS)
    return Included(_ASIDE.sub(lambda found: kept[int(found[1])], neutral), tuple(reasons))


def _put_aside(kept: list[str], found: re.Match[str]) -> str:
    kept.append(found[0])
    return f"\0{len(kept) - 1}\0"


def _replaced(words: dict[str, str], found: re.Match[str]) -> str:
    """The words that stand for what was found, the article before them as their sound asks for."""
    new = words[re.sub(r"\s+", " ", found["word"]).lower()]
    article, rest = found["article"], found["rest"]
    if article is None:
        return (_cased(new, found["word"]) + rest) if new else _cased(rest.lstrip(), found["word"])
    following = new + rest if new else rest.lstrip()
    fitting = "an" if re.match(r"[aeio]|un|hour|honest", following, re.IGNORECASE) else "a"
    return f"{_cased(fitting, article)} {following}"


def _cased(new: str, old: str) -> str:
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def _as_cased(new: str, found: re.Match[str]) -> str:
    return _cased(new, found[0])


def _without_pronouns(text: str) -> str:
    """No "he" or "her" of a person whose gender is a guess: of one the caption speaks of as a person or a child."""
    words = set(re.findall(r"[a-z-]+", text.lower()))
    if words & ASSERTED or not words & _NEUTRAL:
        return text
    somebody = "the child" if "child" in words and "person" not in words else "the person"
    for pattern, new in _PRONOUN_PATTERNS:
        text = pattern.sub(partial(_as_cased, new.format(somebody)), text)
    return text


def _alternatives(words: Iterable[str]) -> str:
    """Longest first; a pattern takes the first that fits."""
    return "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(words, key=len, reverse=True))


def _pattern(rule: Rule) -> re.Pattern[str]:
    """Whole words, not parts of hyphenated ones. A capital makes a name of a word, except at the start of a sentence, and
    except of the origins and faiths before a person."""
    words = _alternatives(rule.words)
    found, rest = rf"{words}|(?:^|(?<=[.!?]\s))(?i:{words})", ""
    if rule.before_person:
        between = _alternatives(["young", "old", "elderly", "little", *rule.words])
        found, rest = rf"(?i:{words})", rf"\s+(?i:(?:(?:{between})\s+)*(?:{_alternatives(PEOPLE)}))\b"
    return re.compile(rf"(?:(?P<article>(?<![\w-])[Aa]n?)\s+)?(?<![\w-])(?P<word>{found})(?![\w-])(?P<rest>{rest})")


_ASIDE = re.compile("\0(\\d+)\0")
_PROTECTED = re.compile(
    rf"\"[^\"]*\"|“[^”]*”|\b(?:{_alternatives(NAMES)})\b"
    r"|\b(?:wo)?men['’]s\b|\b(?:boys|girls|ladies)['’](?!\w)|\b(?:gentlemen|ladies)['’]s\b"
    rf"|\b(?:{_alternatives(LIKENESSES)})\s+(?:of|showing)\s+(?:(?:a|an|the|two|young|old|naked)\s+)*(?:{_alternatives(GENDER.words)})\b",
    re.IGNORECASE,
)
_PATTERNS = {rule.reason: _pattern(rule) for rule in (DEMEANING, GUESSES, OCCUPATIONS, GENDER)}
_TIDY = re.compile(rf"\b(?:{_alternatives(TIDIED)})\b", re.IGNORECASE)
_NEUTRAL = frozenset(
    "person people child children rider firefighter waiter cleaner worker athlete player officer".split()
)
_AFTER_OBJECT = (
    r"(?=\s*(?:$|[.,;:!?]|(?:and|or|in|on|at|with|by|to|from|as|while|near|over|under|behind|for|up|down)\b))"
)
_PRONOUN_PATTERNS = [
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (r"\b(?:him|her)self\b", "themselves"),
        (rf"\bher{_AFTER_OBJECT}", "{}"),
        (r"\bhers\b", "theirs"),
        (r"\b(?:his|her)\b", "their"),
        (r"\b(?:he|she|him)\b", "{}"),
    )
]
