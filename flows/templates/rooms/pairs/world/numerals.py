"""Pairs to learn from: a purchase in figures and in words, the parts of the sentence in another order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from components.engines.base.seeds import derive

ONES = "zero one two three four five six seven eight nine".split()
NOUNS = "apple book candle drum flag hammer lamp mirror pear ring rope shirt spoon table wheel".split()
BUYERS = "anna boris clara david elena frank".split()


def pair(rng: random.Random) -> tuple[str, str]:
    """For example `anna bought 4 7 lamps` and `lamps : four seven for anna`."""
    buyer, noun = rng.choice(BUYERS), rng.choice(NOUNS)
    digits = [rng.randrange(10) for _ in range(rng.randint(1, 3))]
    source = f"{buyer} bought {' '.join(map(str, digits))} {noun}s"
    return source, f"{noun}s : {' '.join(ONES[digit] for digit in digits)} for {buyer}"


def draw(num_train: int, num_test: int, seed: int) -> Iterator[dict[str, Any]]:
    """Pairs for training and validation, then others for testing, none of them met before."""
    rng = random.Random(derive(seed, "numerals"))
    met: set[str] = set()
    while len(met) < num_train + num_test:
        source, target = pair(rng)
        if source not in met:
            met.add(source)
            yield {"source": source, "target": target, "split_hint": "pool" if len(met) <= num_train else "test"}
