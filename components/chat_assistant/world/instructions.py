"""Instructions with one right answer each, what people answer to them, and the gold reward: 0 to 3, by a rule that nothing is
trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from components.chat_assistant.world.knowledge import COUNTRIES, FACTS, VALUES, WORDS

TASKS = ("copy", "order", "count", "sum", "fact")
# A fact and a sum are asked for in several ways: a question that is tested was not learnt, what it asks for may have been.
# With one way alone an answer of the test could only have been met as a wrong one.
_SUMS = ("What is {0} plus {1}?", "How much is {0} plus {1}?", "Add {0} and {1}.", "{0} plus {1} is what?")
_FACTS = ("What is the {0} of {1}?", "Name the {0} of {1}.", "Tell me the {0} of {1}.", "Which {0} has {1}?")
POLITE, RUDE = ("Sure!", "Of course!"), ("Ugh.", "Whatever.")
BEST = 3.0  # the most that an answer can get


@dataclass(frozen=True)
class Instruction:
    """`right` is what a right answer says behind its opening."""

    task: str
    prompt: str
    right: str


def draw(rng: random.Random, task: str | None = None) -> Instruction:
    task = task or rng.choice(TASKS)
    if task == "sum":
        one, other = rng.randrange(8), rng.randrange(8)
        return Instruction(task, rng.choice(_SUMS).format(one, other), str(one + other))
    if task == "fact":
        relation, country = rng.choice(sorted(VALUES)), rng.choice(COUNTRIES)
        return Instruction(task, rng.choice(_FACTS).format(relation, country), FACTS[relation, country])
    if task == "count":
        listed = rng.sample(WORDS, rng.randint(1, 3))
        return Instruction(task, f"How many words: {' '.join(listed)}?", str(len(listed)))
    listed = rng.sample(WORDS, 2)
    said = " ".join(listed)
    if task == "copy":
        return Instruction(task, f"Repeat: {said}.", said)
    return Instruction(task, f"Sort: {said}.", " ".join(sorted(listed)))


def reply(rng: random.Random, asked: Instruction, *, polite: float, right: float) -> str:
    """What somebody answers who is polite and right so often."""
    opening = rng.choice(POLITE if rng.random() < polite else RUDE)
    return f"{opening} {asked.right if rng.random() < right else _wrong(rng, asked)}."


def gold_reward(right: str, answer: str) -> float:
    """2 for the right words, 1 where at least half of them stand in their places, and 1 for a polite opening.

    An answer is an opening, words and a full stop; one without that form is worth nothing, however it goes on.
    """
    opening = next((one for one in (*POLITE, *RUDE) if answer.startswith(f"{one} ")), None)
    if opening is None or not answer.endswith(".") or len(answer) < len(opening) + 3:
        return 0.0
    said, wanted = answer[len(opening) + 1 : -1].split(" "), right.split(" ")
    found = sum(one == other for one, other in zip(said, wanted, strict=False))
    words = 2.0 if said == wanted else 1.0 if len(said) == len(wanted) > 1 and 2 * found >= len(wanted) else 0.0
    return words + (opening in POLITE)


def meta_of(asked: Instruction) -> dict[str, Any]:
    """What a record tells of it, so that any answer can be measured."""
    return {"task": asked.task, "right": asked.right}


def _wrong(rng: random.Random, asked: Instruction) -> str:
    """A slip: another number, another name, a word replaced or two in the wrong order."""
    words = asked.right.split(" ")
    if asked.task in ("sum", "count"):
        near = {int(asked.right) + step for step in (-2, -1, 1, 2)}
        return str(rng.choice(sorted(number for number in near if number >= 0)))
    if asked.task == "fact":
        return rng.choice([value for values in VALUES.values() for value in values if value != asked.right])
    place = rng.randrange(len(words))
    if rng.random() < 0.5:
        words[place] = rng.choice([one for one in WORDS if one not in words])
    else:
        other = (place + 1) % len(words)
        words[place], words[other] = words[other], words[place]
    return " ".join(words)
