"""The params of low-rank adapters (engines/nn/low_rank.py): they stand apart so that reading params loads no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.engines.base.params import Params, Positive


class Lora(Params):
    """The difference of each matrix has this `rank`, and counts `alpha` ÷ rank times."""

    rank: Positive = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
