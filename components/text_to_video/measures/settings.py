"""What the test prompts are made into clips with."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.engines.base.params import Params, Positive
from components.engines.diffusion.sampling import Sampling


class FlowSampling(Sampling):
    """How clips are drawn, by a sampler of flows unless it is said otherwise."""

    sampler: Literal["ddim", "ddpm", "lcm", "dpm-solver", "euler", "unipc"] = "euler"


class TrialSettings(Params):
    """All figures are of `sampling` unless their name says otherwise; `guidances` are compared on the same prompts and seeds.

    `num_reference` training clips are what distances are measured to.
    """

    sampling: FlowSampling = FlowSampling()
    guidances: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0, 3.0)
    num_prompts: Positive = 192
    num_reference: Positive = 512
    batch_size: Positive = 32
    seed: int = 0

    @model_validator(mode="after")
    def _compares_itself(self) -> Self:
        if self.sampling.guidance not in self.guidances:
            raise ValueError(f"guidances must hold sampling.guidance {self.sampling.guidance:g}")
        return self
