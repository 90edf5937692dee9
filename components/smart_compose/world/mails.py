"""Mails of the sample world as they arrive: personal data in them, signatures and quotations around them, dirt among them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.engines.base.seeds import derive
from components.smart_compose.world import grammar, personal, phrases
from components.smart_compose.world.canaries import CANARY_SUBJECT, canaries, canary_body
from components.smart_compose.world.grammar import Mail

Label = tuple[int, int, str]  # start, end, kind
_PLACEHOLDER = re.compile(r"<([A-Z]+)>")
_MAILS_PER_PERSON = 6


@dataclass(frozen=True)
class Person:
    first: str
    last: str
    address: str
    style: str

    @property
    def shown(self) -> str:
        """As a header names a person."""
        return f"{self.first} {self.last} <{self.address}>"


def draw_mails(num_train: int, num_test: int, dirt_fraction: float, seed: int) -> Iterator[dict[str, Any]]:
    """Raw mails: `num_train` for training and validation, then `num_test` by other senders, also on subjects held out.

    Records: subject, sender, recipients, body, split_hint (`pool`, `train`, `test`), combination (`seen`, `unseen`), and `dirt`
    of a mail that scrubbing must catch.
    """
    for split, count in (("pool", num_train), ("test", num_test)):
        rng = random.Random(derive(seed, "mails", split))
        people = [_person(rng, f"{split[0]}{number}") for number in range(2 + count // _MAILS_PER_PERSON)]
        planted = _planted(rng, people, count) if split == "pool" else {}
        previous: dict[str, Any] | None = None
        for number in range(count):
            record = planted.get(number) or _record(rng, people, split)
            yield {"split_hint": split, "dirt": "", **record}
            if split == "pool" and previous and "canary" not in previous and rng.random() < dirt_fraction:
                yield {**_spoilt(rng, previous), "split_hint": split}
            previous = record


def fill(text: str, rng: random.Random, ways: dict[str, tuple[personal.Way, ...]]) -> tuple[str, list[Label]]:
    """Personal data in place of placeholders, each with its label."""
    made, labels, end = "", [], 0
    for found in _PLACEHOLDER.finditer(text):
        made += text[end : found.start()]
        value = rng.choice(ways[found[1]])(rng)
        labels.append((len(made), len(made) + len(value), found[1]))
        made, end = made + value, found.end()
    return made + text[end:], labels


def _record(rng: random.Random, people: list[Person], split: str) -> dict[str, Any]:
    """A mail between two people, or an answer with what it answers quoted below."""
    sender, recipient = rng.sample(people, 2)
    relation = _relation(sender, recipient)
    allowed = [one for one in grammar.subjects() if split == "test" or one not in grammar.HELD_OUT]
    topic, detail = rng.choice(allowed)
    mail = grammar.draw(rng, topic, detail, sender.style, relation)
    quoted = ""
    if rng.random() < phrases.ANSWERED:
        first = grammar.draw(rng, topic, detail, recipient.style, relation)
        mail = grammar.draw(rng, topic, detail, sender.style, relation, first)
        quoted = _quotation(rng, recipient, sender, _filled(first.body, rng, recipient, sender))
    body = _filled(mail.body, rng, sender, recipient)
    signature = _signature(rng, sender)
    combination = "unseen" if (topic, detail) in grammar.HELD_OUT else "seen"
    return _as_record(mail, sender, recipient, body + signature + quoted, combination)


def _as_record(mail: Mail, sender: Person, recipient: Person, body: str, combination: str) -> dict[str, Any]:
    return {
        "subject": mail.subject,
        "sender": sender.shown,
        "recipients": recipient.shown,
        "body": body,
        "combination": combination,
    }


def _filled(body: str, rng: random.Random, sender: Person, recipient: Person) -> str:
    """Greeted is the recipient; the sender signs."""
    names = iter((recipient.first, sender.first))
    return fill(body, rng, {**personal.WAYS, "NAME": (lambda _: next(names),)})[0]


def _planted(rng: random.Random, people: list[Person], count: int) -> dict[int, dict[str, Any]]:
    """The mails that carry canaries, by their place among the others."""
    secrets = [canary for canary in canaries() for _ in range(canary.repeats)]
    found = {}
    for place, canary in zip(sorted(rng.sample(range(count), min(len(secrets), count))), secrets, strict=False):
        sender, recipient = _person(rng, f"c{place}"), rng.choice(people)
        record = _as_record(Mail(CANARY_SUBJECT, "", ""), sender, recipient, canary_body(canary.secret), "seen")
        found[place] = record | {"canary": True, "split_hint": "train"}
    return found


def _signature(rng: random.Random, sender: Person) -> str:
    phone = personal.WAYS["PHONE"][0](rng)
    title = rng.choice(("Sales Manager", "Head of Research", "Accounts", "Project Lead"))
    return rng.choice(
        (
            "",
            f"\n\n-- \n{sender.first} {sender.last}\n{title}\nTel: {phone}",
            f"\n\n{sender.first} {sender.last} | {title}\n{sender.address} | {phone}",
            "\n\nSent from my phone",
        )
    )


def _quotation(rng: random.Random, writer: Person, reader: Person, body: str) -> str:
    quoted = "\n".join(f"> {line}" for line in body.split("\n"))
    head = f"From: {writer.shown}\nSent: Tuesday, March 3, 2026 10:12 AM\nTo: {reader.shown}"
    return rng.choice(
        (
            f"\n\nOn Tue, 3 Mar 2026 at 10:12, {writer.shown} wrote:\n{quoted}",
            f"\n\n-----Original Message-----\n{head}\n\n{body}",
        )
    )


def _spoilt(rng: random.Random, record: dict[str, Any]) -> dict[str, Any]:
    """What real mailboxes hold besides mails worth learning; `dirt` says what it is."""
    kind = rng.choice(("duplicate", "near duplicate", "only quotation", "empty"))
    body = record["body"]
    if kind == "near duplicate":
        body = body.replace(",\n", ",\n\n", 1).replace(".", " .", 1)
    elif kind == "only quotation":
        body = "\n".join(f"> {line}" for line in body.split("\n"))
    elif kind == "empty":
        body = "  \n"
    return {**record, "body": body, "dirt": kind}


def _relation(one: Person, other: Person) -> str:
    pair = sorted((one.address, other.address))
    chooser = random.Random(derive(0, "relation", *pair))
    return chooser.choices(list(phrases.RELATIONS), list(phrases.RELATIONS.values()))[0]


def _person(rng: random.Random, mark: str) -> Person:
    first, last = rng.choice(personal.FIRST), rng.choice(personal.LAST)
    style = rng.choices(list(phrases.STYLES), list(phrases.STYLES.values()))[0]
    address = f"{first}.{last}.{mark}@{rng.choice(personal.DOMAINS)}".lower().replace("'", "")
    return Person(first, last, address, style)
