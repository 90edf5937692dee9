"""Prompts as their readers see them: disguised letters undone, so that a word is found however it is written."""

from __future__ import annotations

import re
import unicodedata
from itertools import product

# Letters of other alphabets that look like Latin ones (what NFKC leaves apart): capitals look like other letters than small ones.
_CAPITAL_LOOK_ALIKES = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВЕКМНОРСТУХІЈЅ", "ABEZHIKMNOPTYXABEKMHOPCTYXIJS")
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝкмнтвпгдзᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢαβγεηικνορτυχωıɑɡłøđæœ",
    "aeopcyxijshdqwkmhtbnrdzabcdefghijklmnoprstuvwyzabyenikvoptuxwiaglodao",
)
_LEET = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "€": "e", "+": "t"}
_AMBIGUOUS = "1!|"  # an i or an l
_SEPARATORS = r"[\s._\-*~/\\|,:;'’+=]"
_SPACED_OUT = re.compile(rf"(?<!\w)(?:\w{_SEPARATORS}+){{2,}}\w(?!\w)")
_INSIDE_A_WORD = re.compile(r"(?<=[^\W\d_])[._\-*~'’|/\\]+(?=[^\W\d_])")
_OWNER = re.compile(r"(?<=\w\w)['’]s\b")  # its s is a word of its own, which no reading joins to the owner
_WORD = re.compile(r"[^\W_]+")


def plain(text: str) -> str:
    """Compatibility forms composed (NFKC), case folded, invisible characters and accents gone, look-alikes as Latin letters."""
    folded = unicodedata.normalize("NFKC", text).translate(_CAPITAL_LOOK_ALIKES).casefold()
    apart = unicodedata.normalize("NFD", folded)
    seen = "".join(
        sign for sign in apart if unicodedata.category(sign) not in ("Cf", "Mn", "Me", "Cc") or sign in "\t\n"
    )
    return seen.translate(_LOOK_ALIKES)


def words(text: str) -> list[str]:
    """The words of a plain text, without punctuation."""
    return _WORD.findall(text)


def readings(text: str) -> list[str]:
    """Every way to read the prompt, each as words with single spaces: as it is, with digits and signs that stand for letters,
    with letters that were set apart put together, with drawn-out letters as one."""
    base = _OWNER.sub(" s ", plain(text))
    found = []
    for letter, joined, short in product((None, "i", "l"), (False, True), (False, True)):
        reading = base if letter is None else _unleet(base, letter)
        if joined:
            reading = _INSIDE_A_WORD.sub("", reading)
        if short:
            reading = re.sub(r"(\w)\1{2,}", r"\1", reading)
        found.append(" ".join(words(reading)))
    return list(dict.fromkeys(found))


def spaced_out(text: str) -> list[str]:
    """Runs of three single letters or more that stand apart, put together: where a word begins in them nobody knows."""
    base = plain(text)
    return [
        re.sub(_SEPARATORS, "", run.group())
        for reading in dict.fromkeys((base, _unleet(base, "i"), _unleet(base, "l")))
        for run in _SPACED_OUT.finditer(reading)
    ]


def _unleet(text: str, ambiguous: str) -> str:
    """Digits and signs as the letters they stand for, in words that have a letter besides (numbers stay numbers)."""
    table = str.maketrans(_LEET | dict.fromkeys(_AMBIGUOUS, ambiguous))

    def read(word: str) -> str:
        bare = word.rstrip("!")  # an exclamation mark at the end is one
        apart = len(bare) == 1 or not any(sign.isalpha() for sign in bare)
        return word if apart and not bare.startswith(tuple("@$")) else bare.translate(table)

    return re.sub(r"\S+", lambda match: read(match.group()), text)
