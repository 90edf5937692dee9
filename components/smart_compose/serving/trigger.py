"""The triggering service: whether a keystroke is a moment for a suggestion at all, before any network runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from components.engines.base.errors import BadRecord
from components.engines.text.pii import find_personal, with_placeholders
from components.smart_compose.architecture import Composing

Event = Literal["type", "delete", "select", "manual"]
EVENTS: tuple[str, ...] = get_args(Event)


@dataclass(frozen=True)
class Keystroke:
    """What the mail looks like after a key was pressed: `typed` stands before the cursor, `following` behind it.

    `session` names the typist's window: what was computed for it is used again. `elapsed_ms` is the time since the key before.
    """

    typed: str
    subject: str = ""
    previous: str = ""
    following: str = ""
    event: str = "type"
    session: str | None = None
    elapsed_ms: float | None = None

    @classmethod
    def read(cls, one: dict[str, Any], max_chars: int) -> Keystroke:
        """Raises BadRecord for what is no keystroke, or more text than `max_chars` in one field."""
        texts = {name: one.get(name) or "" for name in ("typed", "subject", "previous", "following", "event")}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise BadRecord(f"{name} is no text")
            if len(text) > max_chars:
                raise BadRecord(f"{name} is too long", f"{len(text)} characters, more than {max_chars}")
        texts["event"] = texts["event"] or "type"
        if texts["event"] not in EVENTS:
            raise BadRecord("no such event", f"{texts['event'][:40]}: it is one of {', '.join(EVENTS)}")
        session, elapsed = one.get("session"), one.get("elapsed_ms")
        if not (session is None or isinstance(session, str)) or not (
            elapsed is None or (isinstance(elapsed, int | float) and 0 <= elapsed < float("inf"))
        ):
            raise BadRecord("session must be a text, elapsed_ms a number from 0 on")
        return cls(**texts, session=session, elapsed_ms=elapsed)

    @property
    def word(self) -> str:
        """What is typed of the word at the cursor."""
        return self.typed.split()[-1] if self.typed and not self.typed[-1].isspace() else ""


@dataclass(frozen=True)
class Moment:
    """A keystroke with personal data replaced by placeholders, as the model knows mails; `reason` says why nothing is
    suggested."""

    keystroke: Keystroke
    typed: str
    reason: str | None = None


def moment(keystroke: Keystroke, composing: Composing, region: str) -> Moment:
    """Look at a keystroke by the rules, the cheap ones first."""
    reason = _reason(keystroke, composing)
    if reason:
        return Moment(keystroke, "", reason)
    spans = find_personal(keystroke.typed, region=region)
    begun = _BEGUN.search(keystroke.word) or _NUMBER.search(keystroke.typed[-40:])
    if begun or (spans and spans[-1].end == len(keystroke.typed)):
        return Moment(keystroke, "", "the cursor stands in personal data")
    return Moment(keystroke, plain(with_placeholders(keystroke.typed, spans)))


def scrubbed(text: str, region: str) -> str:
    """A text that the model only reads (subject, mail answered), as scrubbing leaves it."""
    return plain(with_placeholders(text, find_personal(text, region=region))).strip()


def plain(text: str) -> str:
    """White space as scrubbed mails have it: no empty lines, single spaces."""
    return _SPACES.sub(" ", _LINES.sub("\n", text))


def _reason(keystroke: Keystroke, composing: Composing) -> str | None:
    word, manual = keystroke.word, keystroke.event == "manual"
    if keystroke.event == "delete":
        return "after a deletion"
    if keystroke.event == "select":
        return "text is selected"
    if keystroke.following and not keystroke.following[0].isspace():
        return "the cursor stands within a word"
    if len(word) > composing.max_word_chars:
        return "the word is too long"
    if word and len(word) < composing.min_letters and not manual:
        return "too little of the word is typed"
    return None


# A word with these may become a number, an address or a link: nothing is suggested until it is over.
_BEGUN = re.compile(r"[\d@/\\<>+#]|\bwww\.|\w\.\w")
_NUMBER = re.compile(r"(?:\+\d|\d{3,})[\d ().\-/]*$")  # a telephone or account number in groups, between two of them
_LINES = re.compile(r"[ \t\r\f\v]*\n\s*")
_SPACES = re.compile(r"[^\S\n]+")
