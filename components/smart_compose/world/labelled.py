"""Texts with labelled personal data, and with what looks like them and is none: to measure how much is found."""

from __future__ import annotations

import random
from collections.abc import Iterator

from components.smart_compose.world import phrases
from components.smart_compose.world.mails import Label, fill
from components.smart_compose.world.personal import HELD_OUT, WAYS, digits

SENTENCES = (
    *sorted({text.strip() for choices in phrases.PERSONAL.values() for text, _ in choices if text}),
    "Please write to <EMAIL> or call <PHONE> before noon.",
    "We moved to <ADDRESS> last week.",
    "Transfer it to account <ACCOUNT> today, please.",
    "Charge the card <CARD> for the rest.",
    "See <URL> for more; the log shows <IP> again.",
)


def labelled_mails(rng: random.Random, count: int, *, held_out: bool) -> Iterator[tuple[str, list[Label]]]:
    """(text, labels) of mails; with `held_out`, values are written in the ways that the world's own mails never have."""
    ways = HELD_OUT if held_out else WAYS
    for _ in range(count):
        greeting = rng.choice(phrases.GREETINGS[rng.choice(list(phrases.RELATIONS))])[0]
        sign_off = rng.choice(phrases.SIGN_OFFS[rng.choice(list(phrases.STYLES))])[0]
        said = [rng.choice(SENTENCES), rng.choice(SENTENCES), _lookalike(rng), _lookalike(rng)]
        rng.shuffle(said)
        yield fill(f"{greeting}\n\n{' '.join(said)}\n\n{sign_off}\n<NAME>", rng, ways)


def _lookalike(rng: random.Random) -> str:
    """A sentence with numbers, dates and names that are nobody's."""
    return rng.choice(
        (
            f"Order {digits(rng, 6)} was shipped on 2026-03-{rng.randrange(10, 29)} for 1,{digits(rng, 3)}.50 dollars.",
            f"Invoice 2026-{digits(rng, 6)} covers 12/01/2025 to 28/02/2026.",
            f"Version 3.{rng.randrange(20)}.{rng.randrange(10)} needs Python 3.11 or newer.",
            f"The meeting is from 10:30 to 11:45 in room {rng.randrange(1, 9)}.{digits(rng, 2)}.",
            f"Sales grew from {digits(rng, 3)} 000 in 2019-2020 to 1 {digits(rng, 3)} 000.",
            "Best practice: see chapter 4, pages 112-118.",
            "Dear me, that was close.",
            f"Tag {digits(rng, 5)} failed {rng.randrange(2, 9)} times, 25mw each, at 3:15 p.m.",
            "The street was closed and the road to Main Station was, too.",
            f"Parcel 1Z{digits(rng, 4)}AA{digits(rng, 5)} weighs {digits(rng, 2)}.5 kg.",
        )
    )
