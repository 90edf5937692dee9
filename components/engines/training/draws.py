"""Random draws of a step as a pure function of its place: nothing to save, nothing to restore."""

from __future__ import annotations

import random

import numpy as np
import torch

from components.engines.base.seeds import derive


def seed_place(device: torch.device, seed: int, *place: object) -> None:
    """Seed Python, NumPy, the CPU's generator and `device`'s for what happens at this place.

    The same draws as `base.seeds.seed_everything`, for use in every step: torch.manual_seed also queues a call, with a
    formatted stack, for each kind of accelerator not yet in use (0.3 to 1 ms, and memory that is never freed).
    """
    derived = derive(seed, *place)
    random.seed(derived)
    np.random.seed(derived % 2**32)
    torch.default_generator.manual_seed(derived)
    if device.type == "cuda":
        torch.cuda.manual_seed(derived)
