"""The sample world as a source: texts, conversations, preferences and requests, with a labelled share of dirt.

`split_hint` says where a record must go; the rest follows from what is asked, so that a question is learnt or tested, never both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from components.chat_assistant.world.instructions import Instruction, draw, gold_reward, meta_of, reply
from components.chat_assistant.world.knowledge import document
from components.chat_assistant.world.unsafe import draw_requests

# How people are in the data of the sample world: what alignment is to improve on.
POLITE, RIGHT = 0.6, 0.7
SEVERAL = 0.25  # share of conversations with more than one exchange
FLIPPED = 0.1  # share of preferences with the worse answer as the chosen one
_MAIL = "You can write to kim.{}@example.com about it."


def texts(count: int, dirt: float, seed: int) -> Iterator[dict[str, Any]]:
    """Texts for pretraining. Dirt: copies, addresses, and texts that give away a question of the test (`leak`)."""
    rng = random.Random(f"texts {seed}")
    before = document(rng)
    for number in range(count):
        made: dict[str, Any] = {"text": document(rng)}
        if rng.random() < dirt:
            kind = rng.choice(("duplicate", "personal", "leak"))
            if kind == "duplicate":
                made["text"] = before
            elif kind == "personal":
                made["text"] += f" {_MAIL.format(number)}"
            else:
                made["text"] = " ".join(f"{one['content']}" for one in leaked(seed)["messages"])
            made["dirt"] = kind
        before = made["text"]
        yield made


def leaked(seed: int) -> dict[str, Any]:
    """A conversation of the test that stands in texts, too: long enough that nobody says the same by chance."""
    rng = random.Random(f"leaked {seed}")
    return _conversation(rng, exchanges=3) | {"split_hint": "test"}


def conversations(count: int, dirt: float, seed: int) -> Iterator[dict[str, Any]]:
    """Conversations. Dirt: copies, and what no conversation is."""
    rng = random.Random(f"conversations {seed}")
    yield leaked(seed)
    before = _conversation(rng)
    for _ in range(count - 1):
        made = _conversation(rng)
        if rng.random() < dirt:
            kind = rng.choice(("duplicate", "empty turn", "wrong role order", "system only"))
            made = dict(before) if kind == "duplicate" else _spoilt(made, kind)
            made["dirt"] = kind
        else:
            before = made
        yield made


def preferences(count: int, dirt: float, seed: int) -> Iterator[dict[str, Any]]:
    """A question and two answers of different worth; `margin` is the difference in gold reward, a tenth are the wrong way
    round."""
    rng = random.Random(f"preferences {seed}")
    made = 0
    while made < count:
        asked = draw(rng)
        answers = [reply(rng, asked, polite=POLITE, right=RIGHT) for _ in range(2)]
        worth = [gold_reward(asked.right, one) for one in answers]
        if worth[0] == worth[1]:
            continue
        spoilt = rng.random() < dirt  # asked of pairs that are kept: else the share of dirt would be larger
        better, worse = answers if worth[0] > worth[1] else reversed(answers)
        flipped = rng.random() < FLIPPED
        made += 1
        found: dict[str, Any] = {
            "prompt": asked.prompt,
            "chosen": worse if flipped else better,
            "rejected": better if flipped else worse,
        }
        found |= {"margin": abs(worth[0] - worth[1]), "flipped": flipped, **meta_of(asked)}
        yield found | ({"rejected": found["chosen"], "dirt": "chosen equals rejected"} if spoilt else {})


def requests(count: int, dirt: float, seed: int) -> Iterator[dict[str, Any]]:
    """Requests by category: those in held-out wording are for the test."""
    del dirt  # of these none is spoilt: the look-alikes are what is hard about them
    yield from draw_requests(count, False, seed)
    for one in draw_requests(max(count // 4, 40), True, seed):
        yield one | {"split_hint": "test"}


def _conversation(rng: random.Random, exchanges: int | None = None) -> dict[str, Any]:
    count = exchanges or (rng.randint(2, 3) if rng.random() < SEVERAL else 1)
    messages, asked = [], Instruction("", "", "")
    for _ in range(count):
        asked = draw(rng)
        messages.append({"role": "user", "content": asked.prompt})
        messages.append({"role": "assistant", "content": reply(rng, asked, polite=POLITE, right=RIGHT)})
    return {"messages": messages, **meta_of(asked)}


def _spoilt(made: dict[str, Any], kind: str) -> dict[str, Any]:
    messages = [dict(one) for one in made["messages"]]
    if kind == "empty turn":
        messages[-1]["content"] = " "
    elif kind == "wrong role order":
        messages = messages[::-1]
    else:
        messages = [{"role": "system", "content": "You are kind."}]
    return {**made, "messages": messages}
