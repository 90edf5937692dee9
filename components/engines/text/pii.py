"""Personal data in a text: where they stand, of what kind, and the text with typed placeholders (`<EMAIL>`) instead.

Telephone numbers are checked by `phonenumbers` (Google's libphonenumber, metadata in its wheel), account and card numbers
by their check digits (ISO 13616, Luhn), network addresses by `ipaddress`. Names are found where mails write them, after
greetings and before the end, and where the caller knows them from a mail's head. docs/mail.md has the figures beside presidio's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from components.engines.text.mail import GREETING, SIGN_OFF

KINDS = ("EMAIL", "URL", "IP", "ACCOUNT", "CARD", "PHONE", "ADDRESS", "NAME")
PLACEHOLDERS = tuple(f"<{kind}>" for kind in KINDS)
_CARD_DIGITS = (13, 19)  # ISO/IEC 7812
_TAKEN = "\0"  # stands where something was found, so that nothing is found there again


@dataclass(frozen=True, order=True)
class Span:
    """`text[start:end]` is personal, of one of KINDS."""

    start: int
    end: int
    kind: str


def find_personal(text: str, *, region: str = "US", names: Collection[str] = ()) -> list[Span]:
    """Spans in order, none overlapping. `region` (ISO 3166) reads telephone numbers without a country's code; `names` (single
    words) are known to be somebody's."""
    left, found = text.replace(_TAKEN, " "), []
    for kind, finder in _FINDERS:
        for start, end in finder(left, region, names):
            if _TAKEN not in left[start:end]:
                found.append(Span(start, end, kind))
                left = left[:start] + _TAKEN * (end - start) + left[end:]
    return sorted(found)


def with_placeholders(text: str, spans: Collection[Span]) -> str:
    """`text` with `<KIND>` for each span (in order, none overlapping)."""
    made, end = [], 0
    for span in spans:
        made += [text[end : span.start], f"<{span.kind}>"]
        end = span.end
    return "".join([*made, text[end:]])


def _urls(text: str, region: str, names: Collection[str]) -> Iterator[tuple[int, int]]:
    for found in _URL.finditer(text):
        url = found[0].rstrip(_STOPS)
        while url.endswith(")") and url.count("(") < url.count(")"):
            url = url[:-1].rstrip(_STOPS)
        yield found.start(), found.start() + len(url)


def _ips(text: str, region: str, names: Collection[str]) -> Iterator[tuple[int, int]]:
    for found in _IP.finditer(text):
        try:
            ipaddress.ip_address(found[0])
        except ValueError:
            continue
        yield found.span()


def _ibans(text: str, region: str, names: Collection[str]) -> Iterator[tuple[int, int]]:
    """International account numbers with right check digits (the remainder by 97 is 1); other capitals may follow them."""
    for found in _IBAN.finditer(text):
        places = [index for index, sign in enumerate(found[0]) if sign.isalnum()]
        bare = "".join(found[0][index] for index in places)
        for length in range(len(bare), 14, -1):
            number = bare[4:length] + bare[:4]
            if int("".join(str(int(sign, 36)) for sign in number)) % 97 == 1:
                yield found.start(), found.start() + places[length - 1] + 1
                break


def _cards(text: str, region: str, names: Collection[str]) -> Iterator[tuple[int, int]]:
    return _runs(text, _CARD, _is_card, whole=False)


def _phones(text: str, region: str, names: Collection[str]) -> Iterator[tuple[int, int]]:
    return _runs(text, _PHONE, lambda text, start, end: _is_phone(text, start, end, region), whole=True)


def _runs(
    text: str, pattern: re.Pattern[str], accepted: Callable[[str, int, int], bool], *, whole: bool
) -> Iterator[tuple[int, int]]:
    """The longest runs of groups of digits that are accepted: other numbers may stand beside what is looked for.

    With `whole`, groups of nothing but digits are taken all together or not at all: a part of them could be anything.
    """
    for found in pattern.finditer(text):
        groups = [(found.start() + one.start(), found.start() + one.end()) for one in _GROUP.finditer(found[0])]
        taken: list[tuple[int, int]] = []
        for size in range(len(groups) if whole else min(len(groups), _CARD_DIGITS[1]), 0, -1):
            for first in range(len(groups) - size + 1):
                start, end = groups[first][0], groups[first + size - 1][1]
                alone = not whole or size == len(groups) or not text[start:end].replace(" ", "").isdigit()
                if alone and accepted(text, start, end) and all(end <= one or start >= last for one, last in taken):
                    taken.append((start, end))
        yield from taken


def _is_card(text: str, start: int, end: int) -> bool:
    """A number of as many digits as cards have, not all the same, that passes the Luhn check."""
    signs = [int(sign) for sign in text[start:end] if sign.isdigit()]
    if not _CARD_DIGITS[0] <= len(signs) <= _CARD_DIGITS[1] or len(set(signs)) == 1:
        return False
    return sum(sum(divmod(sign * (1 + index % 2), 10)) for index, sign in enumerate(reversed(signs))) % 10 == 0


def _is_phone(text: str, start: int, end: int, region: str) -> bool:
    """What may be a number of `region` or with a country's code; bare digits only where words before them say so."""
    import phonenumbers

    written = text[start:end]
    if _NO_PHONE.fullmatch(written) or (written.isdigit() and not _CALLED.search(text[max(start - 30, 0) : start])):
        return False
    try:
        return bool(phonenumbers.is_possible_number(phonenumbers.parse(written, region)))
    except phonenumbers.NumberParseException:
        return False


def _known(text: str, region: str, names: Collection[str]) -> Iterator[tuple[int, int]]:
    if names:
        yield from (found.span() for found in _CAPITALISED.finditer(text) if found[0] in names)


_STOPS = ".,;:!?'\"]}"
_HOST = r"(?:[\w-]{1,63}\.){1,8}"
_EMAIL = re.compile(rf"(?<![\w.+-])[\w.+%'&-]{{1,64}}@{_HOST}[^\W\d_]{{2,24}}(?![\w@])")
_URL = re.compile(
    rf"""(?<![\w@.-])(?:
        (?:https?|ftp|file)://[^\s<>"\0]{{2,2000}}
        | www\d?\.[^\s<>"\0]{{3,2000}}
        | {_HOST}(?:com|org|net|edu|gov|io|info|biz|de|uk|fr|eu)(?:/[^\s<>"\0]{{0,2000}} | (?![\w@.-]))
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_IP = re.compile(
    r"""(?<![\w.:])(?:
        \d{1,3}(?:\.\d{1,3}){3}
        | (?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}
    )(?![\w:]|\.\d)""",
    re.IGNORECASE | re.VERBOSE,
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?!\w)")
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,}(?![\w-])")
_GROUP = re.compile(r"\S*\d\S*")
_ACCOUNT = re.compile(
    r"""\b(?:account|acct|a/c|routing|sort\ code|customer|member|policy|passport|licen[cs]e|SSN|social\ security)\b
    [^\d\n\0]{0,40}(?P<found>\d(?:[ -]?\d){5,19})(?![\w-])""",
    re.IGNORECASE | re.VERBOSE,
)
_SOCIAL = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")
_PHONE = re.compile(r"(?<![\w.,/$€£])(?<!\w-)(?:\+|\(\+?)?\d(?:[ ().\-/]{0,3}\d){6,40}(?![\w-]|[.,]\d)")
_CALLED = re.compile(r"\b(?:call|tele?phone|phone|tel|mobile|cell|fax|reach|dial|number|ring)\b", re.IGNORECASE)
# Dates, years and what is numbered by them, amounts.
_NO_PHONE = re.compile(
    r"\d{1,2}[-/. ]\d{1,2}[-/. ]\d{4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|(?:19|20)\d\d ?[-/] ?\d{3,8}|\d{1,3}(?: \d{3})+"
)
_EXTENSION = re.compile(r"(?<![\w.])(?:x|ext\.?|extension)[- :.]{0,2}\d(?:-?\d){2,5}(?![\w-])", re.IGNORECASE)
_STREETS = "street st avenue ave road rd drive dr lane ln boulevard blvd court ct place pl square sq way highway hwy parkway pkwy"
_ADDRESS = re.compile(
    rf"""(?<![\w-])(?:
        \d{{1,5}}[a-z]?[ ](?:[NSEW]{{1,2}}\.?[ ])?
        (?:(?:\d{{1,3}}(?:st|nd|rd|th)|(?-i:[A-Z][a-z]?\.|[A-Z][\w'-]{{0,20}}))[ ]){{1,4}}
        (?:{_STREETS.replace(" ", "|")})\b\.?
        | P\.?[ ]?O\.?[ ]?Box[ ]\d{{1,6}}
    )
    (?:,?[ \n]{{1,2}}(?:apt|suite|ste|unit|floor|fl|\#)\.?[ ]?\w{{1,6}})?
    (?:,?[ \n]{{1,2}}[^\W\d_][\w.'\ -]{{1,40}},[ ]?[A-Z]{{2}}[ ]{{1,2}}\d{{5}}(?:-\d{{4}})?)?""",
    re.IGNORECASE | re.VERBOSE,
)
_CAPITALISED = re.compile(r"(?<![\w@])[A-Z][\w'’-]*")
_NAMED = r"""(?-i:
    (?:(?:Mr|Mrs|Ms|Dr|Prof)\.?[ ])?[A-Z][\w'’.-]{0,30}
    (?:[ ](?:(?:van|von|de|der|den|la|del|bin|al)[ ]){0,2}[A-Z][\w'’.-]{0,30}){0,3}
)"""
_GREETED = re.compile(
    rf"^[ \t]*(?:{GREETING})[ ,]{{1,2}}(?P<found>{_NAMED})(?=[ \t]*[,:;!.\n-]|[ \t]*$)",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_SIGNED = re.compile(
    rf"^[ \t]*(?:{SIGN_OFF})[ ,.!-]{{0,3}}\n{{1,2}}[ \t]*(?P<found>{_NAMED})[ \t.]*$",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)

_NOBODY = "All|Everybody|Everyone|Folks|Friends|Gentlemen|Guys|Hello|Hi|Ladies|No|Note|Team|Thanks|There|Yes"
_ADDRESSED = re.compile(rf"\A\s*(?P<found>(?!(?:{_NOBODY})\b)[A-Z][a-z'’-]+)[,:][ \t]*$", re.MULTILINE)
_LAST = re.compile(r"\n[ \t]*(?P<found>[A-Z][\w'’-]*(?:[ ][A-Z]\.)?(?:[ ][A-Z][\w'’-]*)?)[ \t.]*\s*\Z")

Finder = Callable[[str, str, Collection[str]], Iterator[tuple[int, int]]]


def _by_pattern(pattern: re.Pattern[str]) -> Finder:
    """Spans of a pattern: of its group `found` if it has one."""
    group = "found" if "found" in pattern.groupindex else 0
    return lambda text, region, names: (found.span(group) for found in pattern.finditer(text))


# By rank: what is found first is not looked at again.
_FINDERS: list[tuple[str, Finder]] = [
    ("URL", _urls),
    ("EMAIL", _by_pattern(_EMAIL)),
    ("IP", _ips),
    ("ACCOUNT", _ibans),
    ("CARD", _cards),
    ("ACCOUNT", _by_pattern(_ACCOUNT)),
    ("ACCOUNT", _by_pattern(_SOCIAL)),
    ("PHONE", _phones),
    ("PHONE", _by_pattern(_EXTENSION)),
    ("ADDRESS", _by_pattern(_ADDRESS)),
    ("NAME", _by_pattern(_GREETED)),
    ("NAME", _by_pattern(_SIGNED)),
    ("NAME", _by_pattern(_ADDRESSED)),
    ("NAME", _by_pattern(_LAST)),
    ("NAME", _known),
]
