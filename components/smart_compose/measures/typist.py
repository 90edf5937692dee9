"""A typist who types test mails letter by letter and takes a suggestion that is right: what suggestions are worth in
keystrokes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from components.engines.language.records import Record
from components.smart_compose.measures.places import PLACEHOLDER, at, cursors, is_right
from components.smart_compose.measures.settings import Typist
from components.smart_compose.serving.composer import Answer
from components.smart_compose.serving.trigger import Keystroke


@dataclass
class Typed:
    """`keys` pressed for `chars` letters; `asked` for a suggestion, `shown` one in time, `taken`; and shown ones that were
    wrong."""

    chars: int = 0
    keys: int = 0
    asked: int = 0
    shown: int = 0
    taken: int = 0
    wrong: int = 0

    @property
    def saved(self) -> float:
        """The share of keystrokes that were saved."""
        return 1 - self.keys / self.chars


# What is asked at a keystroke, and the milliseconds until the answer is there.
Ask = Callable[[Keystroke], tuple[Answer, float]]


def type_mails(records: Iterable[Record], ask: Ask, typist: Typist) -> Typed:
    """Type every mail from its beginning. Placeholders are pasted as a whole: personal data is never suggested."""
    done = Typed()
    for one in records:
        _type(one, ask, typist, done)
    return done


def _type(one: Record, ask: Ask, typist: Typist, done: Typed) -> None:
    body = one.texts["body"]
    stops, pasted = set(cursors(body)), {found.start(): found.end() for found in PLACEHOLDER.finditer(body)}
    cursor, interval = 0, 1000 / typist.chars_per_second
    while cursor < len(body):
        if cursor in stops:
            place = at(one, cursor)
            asked = place.keystroke
            done.asked += 1
            answer, after_ms = ask(Keystroke(asked.typed, asked.subject, asked.previous, session=one.key))
            made = answer.suggestion
            if made is not None and after_ms + typist.reading_ms <= interval:
                done.shown += 1
                if is_right(place.rest, made.text, whole_words=False):
                    cursor += len(made.text)
                    done.keys += 1
                    done.taken += 1
                    continue
                done.wrong += 1
        cursor = pasted.get(cursor, cursor + 1)
        done.keys += 1
    done.chars += len(body)
