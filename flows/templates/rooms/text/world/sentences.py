"""A small grammar to learn: the verb agrees with its subject in number, the ending of a sentence with its first word."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from components.engines.base.seeds import derive

NOUNS = "baker bird cat dog farmer fox friend horse judge king miller owl painter queen sailor singer".split()
VERBS = "admire call find follow greet guard help know love meet see thank watch".split()
ADJECTIVES = "brave calm clever gentle happy kind little loud old proud quiet young".split()
TIMES = {"today": "before noon", "yesterday": "after dark", "tomorrow": "at dawn"}


def sentence(rng: random.Random) -> str:
    """For example `today the old foxes greet the baker before noon`."""
    time, plural = rng.choice(sorted(TIMES)), rng.random() < 0.5
    subject, other = rng.sample(NOUNS, 2)
    verb, adjective = rng.choice(VERBS), rng.choice(ADJECTIVES)
    named = f"{subject}es" if plural and subject.endswith("x") else f"{subject}s" if plural else subject
    return f"{time} the {adjective} {named} {verb}{'' if plural else 's'} the {other} {TIMES[time]}"


def draw(num_train: int, num_test: int, seed: int) -> Iterator[dict[str, Any]]:
    """Texts for training and validation, then others for testing, none of them met before."""
    rng = random.Random(derive(seed, "sentences"))
    met: set[str] = set()
    while len(met) < num_train + num_test:
        text = sentence(rng)
        if text not in met:
            met.add(text)
            yield {"text": text, "split_hint": "pool" if len(met) <= num_train else "test"}
