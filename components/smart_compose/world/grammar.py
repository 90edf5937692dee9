"""A grammar of mails whose probabilities are known exactly: what a perfect model of the sample world would say.

A mail has a subject (its topic and one detail), perhaps a mail that it answers, and a body: greeting, opening, what it is about,
perhaps a sentence with personal data, ending, sign-off, name. Greeting follows from what the recipient is to the sender, the rest
of the manner from the sender's style; neither is seen, so both are summed over. What is answered follows from the mail answered.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from components.smart_compose.world import phrases
from components.smart_compose.world.phrases import Choices

# Subjects met in testing only: each topic and each detail is met in training, with others.
HELD_OUT = {("meeting", "Tuesday"), ("order", "lamps"), ("invoice", "desks")}
REPLY = "Re: "


@dataclass(frozen=True)
class Mail:
    """A mail as it is after scrubbing: placeholders for personal data; `previous` is empty where nothing is answered."""

    subject: str
    previous: str
    body: str


def subjects() -> list[tuple[str, str]]:
    """(topic, detail) of every subject."""
    return [(topic, detail) for topic, (_, details) in phrases.SUBJECTS.items() for detail in details]


def draw(rng: random.Random, topic: str, detail: str, style: str, relation: str, previous: Mail | None = None) -> Mail:
    """A mail about a subject, or its answer to `previous`, which must be about the same."""
    subject, before = phrases.SUBJECTS[topic][0].format(detail), ""
    if previous is not None:
        subject, before = REPLY + subject, previous.body
    slots = _slots(topic, detail, style, relation, before)
    return Mail(subject, before, "".join(_chosen(rng, choices) for choices in slots))


def log_probability(subject: str, previous: str, body: str) -> float | None:
    """ln P(body | subject, previous), summed over the styles and relations it may come from.

    None where the grammar makes no such mail (of a record that was not drawn from it, or that cleaning has changed).
    """
    found = _read_subject(subject)
    if found is None or bool(previous) != subject.startswith(REPLY):
        return None
    topic, detail = found
    relations = dict(phrases.RELATIONS)
    if previous:
        if _read_core(topic, detail, previous) is None:
            return None
        for relation in relations:  # who is answered wrote to the same relation
            relations[relation] *= _given_relation(topic, detail, relation, "", previous)
    total = sum(relations.values())
    if not total:
        return None
    likelihood = sum(
        share / total * _given_relation(topic, detail, relation, previous, body)
        for relation, share in relations.items()
    )
    return math.log(likelihood) if likelihood else None


def _given_relation(topic: str, detail: str, relation: str, previous: str, body: str) -> float:
    return sum(
        share * _probability(_slots(topic, detail, style, relation, previous), body)
        for style, share in phrases.STYLES.items()
    )


def _probability(slots: list[Choices], body: str) -> float:
    """That these slots, filled independently, make `body`: over every way to cut it."""
    reached = {0: 1.0}
    for choices in slots:
        following: dict[int, float] = {}
        for (start, chance), (text, share) in itertools.product(reached.items(), choices):
            if body.startswith(text, start):
                following[start + len(text)] = following.get(start + len(text), 0.0) + chance * share
        reached = following
    return reached.get(len(body), 0.0)


def _slots(topic: str, detail: str, style: str, relation: str, previous: str) -> list[Choices]:
    """The parts of a body in order, each with what may stand there."""
    greetings = phrases.GREETINGS[relation]
    if style == "brief":
        greetings = (("<NAME>,", 0.5), *((text, share / 2) for text, share in greetings))
    if previous:
        which, drawn = _read_core(topic, detail, previous) or (0, "")
        cores = tuple((text.format(detail, drawn), share) for text, share in phrases.ANSWERS[topic][which])
    else:
        cores = tuple((text, share) for _, _, text, share in _cores(topic, detail))
    return [
        greetings,
        (("\n", 1.0),),
        (phrases.THANKS if previous else phrases.OPENINGS)[style],
        cores,
        phrases.PERSONAL[topic],
        phrases.ENDINGS[style],
        (("\n", 1.0),),
        phrases.SIGN_OFFS[style],
        (("\n<NAME>", 1.0),),
    ]


def _cores(topic: str, detail: str) -> Iterator[tuple[int, str, str, float]]:
    """(which core, what was drawn, its text, its probability) of everything a new mail on the subject may say."""
    for (which, (text, share)), (drawn, chance) in itertools.product(
        enumerate(phrases.CORES[topic]), phrases.DRAWN[topic]
    ):
        yield which, drawn, text.format(detail, drawn), share * chance


def _read_core(topic: str, detail: str, body: str) -> tuple[int, str] | None:
    return next(((which, drawn) for which, drawn, text, _ in _cores(topic, detail) if text in body), None)


def _read_subject(subject: str) -> tuple[str, str] | None:
    bare = subject.removeprefix(REPLY)
    return next((found for found in subjects() if phrases.SUBJECTS[found[0]][0].format(found[1]) == bare), None)


def _chosen(rng: random.Random, choices: Choices) -> str:
    return rng.choices([text for text, _ in choices], [share for _, share in choices])[0]
