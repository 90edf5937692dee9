"""The settings of what is measured: they stand apart so that params can be checked without loading any network."""

from __future__ import annotations

from components.engines.base.params import Params, Positive


class Trying(Params):
    """How many test questions are answered, and by how many draws each policy is compared; the best of how many is measured."""

    num_questions: Positive = 300
    draws: Positive = 2
    best_of: Positive = 8
    seed: int = 0
