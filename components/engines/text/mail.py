"""What a mail's writer has written: the text without quotations, forwarded heads and signatures, and what it answers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from components.engines.text.normalization import normalise

# How mails begin and end, as parts of patterns (verbose, whatever the case).
GREETING = r"hi|hello|hey|dear|good\s(?:morning|afternoon|evening)|greetings"
SIGN_OFF = r"""
    (?:(?:kind|best|warm|many)\s)?(?:regards|wishes|thanks) | all\sthe\sbest | best | sincerely
    | yours(?:\s(?:truly|sincerely))? | cheers | thank\syou | love
"""
_NARROWEST, _WIDEST = 64, 80  # characters of a line, where programs wrap


@dataclass(frozen=True)
class Written:
    """A mail's own text and what it answers, line by line; `cut` names what was taken away: quotation, forwarded, signature."""

    body: str
    previous: str
    cut: tuple[str, ...] = field(default=())


def written(text: str) -> Written:
    """Split a mail's plain text, lines as they came, at the first line that is somebody else's."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    end, kind = _end_of_own(lines)
    own, rest = lines[:end], lines[end:]
    cut = [kind] if kind else []
    kept = _without_signature(own)
    if any(line.strip() for line in own[len(kept) :]):
        cut.append("signature")
    previous = "" if kind != "quotation" else _answered(rest)
    return Written(unwrapped(kept), previous, tuple(cut))


def unwrapped(lines: list[str]) -> str:
    """Lines as their writer broke them: those that a program wrapped are joined, empty ones are left out.

    A line was wrapped where the next one's first word would not have fitted in; a mail with a line of more than _WIDEST
    characters was not wrapped at all. Sign-offs and items of lists begin lines of their own.
    """
    bare = [line.rstrip() for line in lines]
    longest = max(map(len, bare), default=0)
    width = max(longest, _NARROWEST) if longest <= _WIDEST else math.inf
    made: list[str] = []
    wrapped = False
    for number, line in enumerate(bare):
        clean = normalise(line)
        if not clean:
            wrapped = False
            continue
        if wrapped and not _ITEM.match(clean) and not _SIGN_OFF.match(clean):
            made[-1] += f" {clean}"
        else:
            made.append(clean)
        following = bare[number + 1].split() if number + 1 < len(bare) else []
        wrapped = bool(following) and len(line) + 1 + len(following[0]) > width
    return "\n".join(made)


def _end_of_own(lines: list[str]) -> tuple[int, str]:
    """Where the writer's own text ends, and what begins there ("" for nothing)."""
    for number, line in enumerate(lines):
        if _FORWARDED.match(line):
            return number, "forwarded"
        if _ORIGINAL.match(line) or line.startswith(">"):
            return number, "quotation"
        if _WROTE.search(line) or (_ON.match(line) and _WROTE.search(" ".join(lines[number : number + 3]))):
            return number, "quotation"
        if _HEAD.match(line) and sum(bool(_HEAD.match(other)) for other in lines[number : number + 6]) >= 3:
            return number, "quotation"
    return len(lines), ""


def _answered(lines: list[str]) -> str:
    """The text of the mail that is quoted, itself without what it quotes."""
    bare = [line[1:].removeprefix(" ") if line.startswith(">") else line for line in lines]
    start = 0
    while start < len(bare) and (not bare[start].strip() or _is_head(bare, start)):
        start += 1
    inner = bare[start:]
    end, _ = _end_of_own(inner)
    return unwrapped(_without_signature(inner[:end]))


def _is_head(lines: list[str], number: int) -> bool:
    line = lines[number]
    before = lines[number - 1] if number else ""
    return bool(
        _ORIGINAL.match(line)
        or _HEAD.match(line)
        or _WROTE.search(line)
        or _ON.match(line)
        or (_ON.match(before) and not _WROTE.search(before))
    )


def _without_signature(lines: list[str]) -> list[str]:
    """Without what stands below a delimiter, and without contact lines at the end."""
    for number, line in enumerate(lines):
        if _DELIMITER.match(line):
            return lines[:number]
    end = len(lines)
    while end and (not lines[end - 1].strip() or _CONTACT.search(lines[end - 1])):
        end -= 1
    return lines[:end]


_DELIMITER = re.compile(r"^(?:--\s?|[_*=-]{5,}|Sent from my .{1,40}|Get Outlook for .{1,20})\s*$")
# Contact data with a few words before them, or things apart by bars; a sentence ends otherwise.
_CONTACT = re.compile(
    r"^\s*(?:[^\s<]+\s+){0,4}[^\s<]*<+(?:PHONE|EMAIL|ADDRESS|URL)>+\s*(?:\(\w+\))?\s*$|^[^.!?]{1,80} \| "
)
_ORIGINAL = re.compile(r"^\s*-{2,}\s*(?:Original|Reply) Message\s*-{2,}", re.IGNORECASE)
_FORWARDED = re.compile(r"^\s*(?:-{2,}\s*Forwarded (?:message|by)\b|Begin forwarded message:)", re.IGNORECASE)
_ON = re.compile(r"^\s*On .{5,200}$")
_WROTE = re.compile(r"\bwrote:\s*$")
_HEAD = re.compile(r"^\s*(?:From|Sent|To|Cc|Subject|Date):\s", re.IGNORECASE)
_SIGN_OFF = re.compile(rf"(?:{SIGN_OFF})[\s,.!-]*$", re.IGNORECASE | re.VERBOSE)
_ITEM = re.compile(r"^(?:[-*•]|\d{1,2}[.)])\s")
