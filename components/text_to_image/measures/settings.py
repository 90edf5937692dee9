"""What the test prompts are painted with."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from components.engines.base.params import Count, Params, Positive
from components.engines.diffusion.sampling import Sampling


class TrialSettings(Params):
    """All figures are of `sampling` unless their name says otherwise; `guidances` are compared on the same prompts and seeds.

    `num_ddpm` prompts are painted by DDPM in as many steps as there are noise levels (minutes; 0 for none).
    """

    sampling: Sampling = Sampling()
    guidances: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0, 2.0, 3.0, 5.0)
    num_prompts: Positive = 512
    num_ddpm: Count = 0
    batch_size: Positive = 128
    seed: int = 0

    @model_validator(mode="after")
    def _compares_itself(self) -> Self:
        if self.sampling.guidance not in self.guidances:
            raise ValueError(f"guidances must hold sampling.guidance {self.sampling.guidance:g}")
        return self
