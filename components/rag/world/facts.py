"""The facts of an invented company, how its documents state them, and how people ask for them.

A question seldom uses the words of the statement that answers it: what finds it must know that "guaranteed" asks for a warranty.
Names are combinations of few words, so that questions about held-out names consist of words met in training.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

FIRST = (
    "Amber Birch Cedar Coral Delta Ember Falcon Garnet Harbor Indigo Jasper Juniper Larch Maple Nova Olive Opal Pearl "
    "Quartz Raven Saffron Sierra Tango Umber Velvet Willow Xenon Yarrow Zephyr Aspen"
).split()
PEOPLE_FIRST = (
    "Mira Jonas Lena Oskar Tilda Ravi Ines Pavel Nora Hugo Selma Dario Freya Milan Zora Emil Alma Bruno Clara Felix"
).split()
PEOPLE_LAST = (
    "Holt Berger Novak Lind Castor Weiss Moreau Sato Quinn Vega Rossi Klein Dahl Farrow Ortiz Petrov Singh Tamm Ulrich Yates"
).split()
NOUNS = {
    "product": "lamp pump valve drill ladder heater scanner mixer".split(),
    "site": "depot workshop office yard plant warehouse studio terminal".split(),
    "project": "survey bridge tunnel archive census harvest relay beacon".split(),
}
TOWNS = "Alden Brack Corvo Dunmore Eastby Forlan Grenna Hallow Ilmen Jorvik Kelso Lorne".split()
FIRMS = "Acton Bexley Corwin Dorset Elgin Fenton Gorham Hadley Iver Keswick".split()
JOBS = "welder planner buyer courier analyst painter chemist editor".split()
MONTHS = "January February March April May June July August September October November December".split()


@dataclass(frozen=True)
class Attribute:
    """`{name}` and `{value}` stand in `statements`, `{name}` in `questions`. `label` is its column or field."""

    label: str
    draw: Callable[[random.Random], str]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


def _number(low: int, high: int, unit: str) -> Callable[[random.Random], str]:
    return lambda rng: f"{rng.randint(low, high)} {unit}".strip()


def _one_of(words: list[str]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(words)


def person(rng: random.Random) -> str:
    return f"{rng.choice(PEOPLE_FIRST)} {rng.choice(PEOPLE_LAST)}"


ATTRIBUTES: dict[str, tuple[Attribute, ...]] = {
    "product": (
        Attribute(
            "price",
            _number(11, 98, "euros"),
            ("The {name} costs {value}.", "Buyers pay {value} for the {name}."),
            ("What is the price of the {name}?", "How much money is the {name}?", "What does the {name} sell for?"),
        ),
        Attribute(
            "weight",
            _number(2, 60, "kilograms"),
            ("The {name} weighs {value}.", "On the scales the {name} shows {value}."),
            ("How heavy is the {name}?", "What is the weight of the {name}?", "What mass has the {name}?"),
        ),
        Attribute(
            "warranty",
            _number(6, 60, "months"),
            ("The {name} carries a warranty of {value}.", "Defects of the {name} are mended free for {value}."),
            (
                "How long is the {name} guaranteed?",
                "What is the warranty of the {name}?",
                "For how long is the {name} covered?",
            ),
        ),
        Attribute(
            "supplier",
            _one_of(FIRMS),
            ("{value} supplies the {name}.", "The {name} is bought from {value}."),
            ("Who makes the {name}?", "Which firm is the supplier of the {name}?", "Where does the {name} come from?"),
        ),
    ),
    "site": (
        Attribute(
            "manager",
            person,
            ("{value} runs the {name}.", "The manager of the {name} is {value}."),
            ("Who leads the {name}?", "Who is in charge of the {name}?", "Who is the manager of the {name}?"),
        ),
        Attribute(
            "town",
            _one_of(TOWNS),
            ("The {name} stands in {value}.", "Visitors find the {name} in {value}."),
            ("Where is the {name}?", "In which town is the {name} located?", "What is the town of the {name}?"),
        ),
        Attribute(
            "staff",
            _number(12, 95, "people"),
            ("The {name} employs {value}.", "There are {value} at work in the {name}."),
            (
                "How many workers has the {name}?",
                "How large is the staff of the {name}?",
                "How many are employed at the {name}?",
            ),
        ),
        Attribute(
            "opening",
            _one_of(MONTHS),
            ("The {name} was opened in {value}.", "The first day of the {name} was in {value}."),
            (
                "When did the {name} start?",
                "In what month was the opening of the {name}?",
                "Since when is the {name} in use?",
            ),
        ),
    ),
    "project": (
        Attribute(
            "budget",
            _number(100, 990, "crowns"),
            ("The {name} may spend {value}.", "A budget of {value} is set for the {name}."),
            ("How much can the {name} cost?", "What is the budget of the {name}?", "What funds has the {name}?"),
        ),
        Attribute(
            "deadline",
            _one_of(MONTHS),
            ("The {name} must be done by {value}.", "The deadline of the {name} falls in {value}."),
            ("When is the {name} due?", "By which month does the {name} end?", "What is the deadline of the {name}?"),
        ),
        Attribute(
            "lead",
            person,
            ("{value} leads the {name}.", "The {name} is in the hands of {value}."),
            ("Who heads the {name}?", "Who is responsible for the {name}?", "Who is the lead of the {name}?"),
        ),
    ),
    "person": (
        Attribute(
            "job",
            _one_of(JOBS),
            ("{name} works as a {value}.", "The trade of {name} is {value}."),
            ("What does {name} do?", "What is the job of {name}?", "As what is {name} employed?"),
        ),
        Attribute(
            "office",
            _number(101, 480, ""),
            ("{name} sits in room {value}.", "The desk of {name} is in room {value}."),
            ("In which office is {name}?", "What is the room of {name}?", "Where is the desk of {name}?"),
        ),
        Attribute(
            "extension",
            _number(1000, 1999, ""),
            ("{name} answers extension {value}.", "The phone of {name} has number {value}."),
            ("How do I call {name}?", "What is the extension of {name}?", "Under which phone number is {name}?"),
        ),
    ),
}


@dataclass(frozen=True)
class Fact:
    """One thing that is true of `name`."""

    name: str
    kind: str
    attribute: Attribute
    value: str

    def statement(self, rng: random.Random) -> str:
        said = rng.choice(self.attribute.statements).format(name=self.name, value=self.value)
        return said[0].upper() + said[1:]

    def question(self, number: int) -> str:
        return self.attribute.questions[number % len(self.attribute.questions)].format(name=self.name)


@dataclass(frozen=True)
class Entity:
    """Somebody or something, with all that is known about it, and what is not."""

    name: str
    kind: str
    facts: tuple[Fact, ...]
    unknown: tuple[Attribute, ...]  # attributes of its kind that no document states


def draw_entities(rng: random.Random, count: int) -> list[Entity]:
    """`count` entities of all kinds in turn, with names that differ; one attribute in eight is nowhere stated."""
    names = {kind: [f"{first} {noun}" for first in FIRST for noun in nouns] for kind, nouns in NOUNS.items()} | {
        "person": [f"{first} {last}" for first in PEOPLE_FIRST for last in PEOPLE_LAST]
    }
    for listed in names.values():
        rng.shuffle(listed)
    kinds = list(ATTRIBUTES)
    entities = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        name = names[kind].pop()
        known = [attribute for attribute in ATTRIBUTES[kind] if rng.random() >= 1 / 8] or [ATTRIBUTES[kind][0]]
        facts = tuple(Fact(name, kind, attribute, attribute.draw(rng)) for attribute in known)
        unknown = tuple(attribute for attribute in ATTRIBUTES[kind] if attribute not in known)
        entities.append(Entity(name, kind, facts, unknown))
    return entities
