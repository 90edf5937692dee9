"""What is true in the sample world: countries with a capital and a river, none of which anybody has heard of."""

from __future__ import annotations

import random

WORDS = (
    "apple bridge candle desk engine garden hammer jacket kettle lamp mirror needle orange pencil stone table violin window"
).split()
_COUNTRIES = "Arvania Beldor Corvia Dalmar Elstan Fornia Galvia Hestor Ilmara Jorvan Kelmar Lorvia".split()
_CAPITALS = "Amsel Brenna Calto Drovin Elbrig Fendal Gorsk Helmin Iskar Jelva Karbon Lindau".split()
_RIVERS = "Aure Bron Celt Dane Esk Fole Gian Hure Isen Jade Kurn Lahn".split()
FACTS = {
    (relation, country): value
    for relation, values in (("capital", _CAPITALS), ("river", _RIVERS))
    for country, value in zip(_COUNTRIES, values, strict=True)
}
COUNTRIES, VALUES = tuple(_COUNTRIES), {"capital": tuple(_CAPITALS), "river": tuple(_RIVERS)}
_SAID = {
    "capital": ("The capital of {0} is {1}.", "{1} is the capital of {0}.", "In {0} the capital is {1}."),
    "river": ("The river of {0} is {1}.", "{1} is the river of {0}.", "In {0} the river is {1}."),
}


def document(rng: random.Random) -> str:
    """A text of the library that pretraining reads: facts, sums, and lists in order and counted."""
    return " ".join(
        rng.choice((_fact, _fact, _sum, _sorted, _counted, _repeated))(rng) for _ in range(rng.randint(3, 6))
    )


def _fact(rng: random.Random) -> str:
    relation, country = rng.choice(sorted(FACTS))
    return rng.choice(_SAID[relation]).format(country, FACTS[relation, country])


def _sum(rng: random.Random) -> str:
    one, other = rng.randrange(8), rng.randrange(8)
    return f"{one} plus {other} is {one + other}."


def _sorted(rng: random.Random) -> str:
    listed = rng.sample(WORDS, 2)
    return f"In order, {' '.join(listed)} are {' '.join(sorted(listed))}."


def _counted(rng: random.Random) -> str:
    listed = rng.sample(WORDS, rng.randint(1, 3))
    return f"In {' '.join(listed)} there are {len(listed)} words."


def _repeated(rng: random.Random) -> str:
    listed = " ".join(rng.sample(WORDS, 2))
    return f"Say {listed}, and say {listed}."
