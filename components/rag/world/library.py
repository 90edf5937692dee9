"""A company's library: handbooks, forms, tables, scans, copies, confidential papers, and questions whose answers are known."""

from __future__ import annotations

import html
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from components.engines.base.seeds import derive
from components.rag.world.facts import Attribute, Entity, Fact, draw_entities
from components.rag.world.printer import PageTruth, Printer, grouped_table, plain_table
from components.rag.world.scanner import draw_scan, scan

PUBLIC, BOARD = "everyone", "board"  # groups of readers
PER_DOCUMENT = 8
FILLER = (
    "Please keep this page with your papers.",
    "Ask the front desk for the newest copy.",
    "All entries were checked by two clerks.",
    "Nothing here replaces the law.",
    "Changes are announced on the notice board.",
    "Thank you for reading with care.",
)


@dataclass
class Printed:
    """A document as it goes into the library, with the truth about it."""

    name: str
    data: bytes
    readers: tuple[str, ...] = (PUBLIC,)
    pages: list[PageTruth] = field(default_factory=list)
    scanned: bool = False
    copy_of: str | None = None


@dataclass(frozen=True)
class Question:
    """What somebody asks. `answer` is None where no document that they may read tells."""

    text: str
    answer: str | None
    kind: str  # answerable, unanswerable, confidential
    about: str
    groups: tuple[str, ...]
    document: str | None  # where the answer stands, whoever may read it
    page: int | None
    evidence: str | None
    form: str | None  # text, table, form, markup: how the document states it
    split: str


class Library:
    """Documents and questions about `num_entities` things, a pure function of its arguments."""

    def __init__(self, num_entities: int, seed: int, *, scanned_fraction: float, copied_fraction: float) -> None:
        self.seed, self.scanned_fraction, self.copied_fraction = seed, scanned_fraction, copied_fraction
        self.rng = random.Random(derive(seed, "library"))
        self.entities = draw_entities(self.rng, num_entities)
        self.where: dict[Fact, tuple[str, int, str, str]] = {}  # document, page, evidence, form
        self.confidential: set[str] = set()  # names

    def documents(self) -> Iterator[Printed]:
        """Every document, one after another; `questions` may be asked for afterwards."""
        groups: dict[str, list[Entity]] = {}
        for entity in self.entities:
            groups.setdefault(entity.kind, []).append(entity)
        for kind, members in groups.items():
            for number, start in enumerate(range(0, len(members), PER_DOCUMENT)):
                yield from self._document(kind, number, members[start : start + PER_DOCUMENT])

    def _document(self, kind: str, number: int, members: list[Entity]) -> Iterator[Printed]:
        readers = (BOARD,) if number % 6 == 5 else (PUBLIC,)
        if readers == (BOARD,):
            self.confidential |= {entity.name for entity in members}
        name = f"{'board' if readers == (BOARD,) else 'handbook'}/{kind}-{number:02d}"
        if number % 6 in (2, 3) and kind in ("site", "project"):
            made = self._marked_up(name, kind, members, readers, as_html=number % 6 == 2)
        else:
            made = self._printed(name, kind, number, members, readers)
            if self.rng.random() < self.scanned_fraction:
                scans = [draw_scan(self.rng) for _ in made.pages]
                made.data, made.scanned = scan(made.data, scans, derive(self.seed, "noise", name) % 2**31), True
        yield made
        if self.rng.random() < self.copied_fraction:
            suffix = made.name.rpartition(".")[2]
            yield Printed(
                f"copies/{kind}-{number:02d}.{suffix}", made.data, readers, made.pages, made.scanned, made.name
            )

    def _printed(self, name: str, kind: str, number: int, members: list[Entity], readers: tuple[str, ...]) -> Printed:
        printer = Printer(name)
        name += ".pdf"
        printer.heading(f"{kind.capitalize()} handbook, part {number + 1}")
        printer.paragraph(" ".join(self.rng.sample(FILLER, 2)))
        if kind == "product" and number % 2:
            self._table(printer, name, number, members)
        else:
            for entity in members:
                if kind == "person" and number % 2:
                    self._form(printer, name, entity)
                else:
                    self._section(printer, name, entity)
        return Printed(name, printer.finish(), readers, printer.pages)

    def _section(self, printer: Printer, name: str, entity: Entity) -> None:
        printer.heading(entity.name, 2)
        said = [fact.statement(self.rng) for fact in entity.facts]
        printer.paragraph(" ".join([*said, self.rng.choice(FILLER)]))
        for fact, sentence in zip(entity.facts, said, strict=True):
            self.where[fact] = (name, len(printer.pages), sentence, "text")

    def _form(self, printer: Printer, name: str, entity: Entity) -> None:
        printer.heading("Employee record", 2)
        printer.form([("name", entity.name), *((fact.attribute.label, fact.value) for fact in entity.facts)])
        for fact in entity.facts:
            self.where[fact] = (name, len(printer.pages), f"{fact.attribute.label}: {fact.value}", "form")

    def _table(self, printer: Printer, name: str, number: int, members: list[Entity]) -> None:
        attributes = list({fact.attribute.label: fact.attribute for one in members for fact in one.facts}.values())
        title = f"Table {number + 1}: Products of range {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[number % 26]}"
        header = ["name", *(attribute.label for attribute in attributes)]
        half = len(members) // 2
        groups = [("indoor", members[:half]), ("outdoor", members[half:])]
        rows = [(group, [_row(entity, attributes) for entity in inside]) for group, inside in groups if inside]
        if number % 4 == 1:
            table = grouped_table("use", "figures", header, rows)
        else:
            table = plain_table(header, [row for _, inside in rows for row in inside])
        printer.table(title, table, ruled=number % 3 != 2)
        for entity in members:
            for fact in entity.facts:
                self.where[fact] = (name, len(printer.pages), f"{fact.attribute.label}: {fact.value}", "table")

    def _marked_up(
        self, name: str, kind: str, members: list[Entity], readers: tuple[str, ...], *, as_html: bool
    ) -> Printed:
        title = f"{kind.capitalize()} pages"
        name += ".html" if as_html else ".md"
        parts = [f"<h1>{title}</h1>" if as_html else f"# {title}"]
        lines = [title]
        for entity in members:
            said = [fact.statement(self.rng) for fact in entity.facts]
            text = " ".join(said)
            parts.append(
                f"<h2>{entity.name}</h2><p>{html.escape(text)}</p>" if as_html else f"## {entity.name}\n\n{text}"
            )
            lines += [entity.name, text]
            for fact, sentence in zip(entity.facts, said, strict=True):
                self.where[fact] = (name, 1, sentence, "markup")
        body = "\n\n".join(parts)
        if as_html:
            body = f"<!doctype html><html><head><script>alert(1)</script></head><body>{body}</body></html>"
        return Printed(name, body.encode(), readers, [PageTruth(lines)])

    def questions(self, test_fraction: float, valid_fraction: float) -> Iterator[Question]:
        """Three wordings of each fact for training; one for testing, and there what nobody states and what is confidential too.

        Whether a name is for testing follows from the name alone.
        """
        for entity in self.entities:
            split = _split(entity.name, self.seed, test_fraction, valid_fraction)
            secret = entity.name in self.confidential
            for number, fact in enumerate(entity.facts):
                document, page, evidence, form = self.where[fact]
                first = derive(self.seed, "wording", fact.name, fact.attribute.label)
                for wording in range(first, first + (3 if split == "train" else 1)):
                    kind = "confidential" if secret and (number + wording) % 2 else "answerable"
                    groups = (PUBLIC, BOARD) if secret and kind == "answerable" else (PUBLIC,)
                    yield Question(
                        fact.question(wording),
                        None if kind == "confidential" else fact.value,
                        kind,
                        entity.name,
                        groups,
                        document,
                        page,
                        evidence,
                        form,
                        split,
                    )
            for attribute in entity.unknown:
                asked = attribute.questions[derive(self.seed, "unknown", entity.name) % 3].format(name=entity.name)
                yield Question(asked, None, "unanswerable", entity.name, (PUBLIC, BOARD), None, None, None, None, split)


def _row(entity: Entity, attributes: list[Attribute]) -> list[str]:
    known: dict[str, Any] = {fact.attribute.label: fact.value for fact in entity.facts}
    return [entity.name, *(known.get(attribute.label, "") for attribute in attributes)]


def _split(name: str, seed: int, test_fraction: float, valid_fraction: float) -> str:
    place = derive(seed, "split", name) % 1_000_000 / 1_000_000
    return "test" if place < test_fraction else "valid" if place < test_fraction + valid_fraction else "train"
