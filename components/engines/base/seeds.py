"""Seeds: every random draw is a pure function of a seed in params and a position, never of time or process."""

from __future__ import annotations

import hashlib
import random


def derive(seed: int, *position: object) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(seed, "mask", epoch, index)`: stable across machines and runs."""
    text = "/".join([str(seed), *map(str, position)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_everything(seed: int, *position: object) -> None:
    """Seed Python, NumPy and torch (all devices) for what follows; same arguments, same draws."""
    import numpy
    import torch

    derived = derive(seed, *position)
    random.seed(derived)
    numpy.random.seed(derived % 2**32)
    torch.manual_seed(derived)
