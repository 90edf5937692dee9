"""Distillation: a student that paints in few steps, without guidance, what the trained denoiser paints in many with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage

SETTINGS = "student.json"


class Distill(Trained):
    """Distillation of the teacher, in `teacher_steps` of DDIM with `guidance`, to a student in `steps` without.

    Each batch of the teacher's trajectories is used for `optimizer_steps`. `training.batch_size` counts trajectories; the student
    learns at `steps` points of each.
    """

    steps: Positive = 4
    teacher_steps: Positive = 8
    guidance: Annotated[float, Field(ge=1)] = 3.0
    optimizer_steps: Positive = 2
    valid_samples: Positive = 64

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.teacher_steps % self.steps:
            raise ValueError(f"teacher_steps {self.teacher_steps} must be a multiple of steps {self.steps}")
        return self


def distill(
    params: Distill, context: StageContext, latents: Path, model: Path, student: Path, distill_curve: Path
) -> None:
    """Write the student's denoiser, a folder that Generator.load takes as `network`, with student.json (how it samples), and the
    loss curve (CSV)."""
    from components.engines.diffusion.parts import Parts

    learnt = train_stage(context, params, partial(distilling, params, latents, model), distill_curve)
    network = Parts.load(model).network
    learnt.load(network, "student")
    network.save_pretrained(student, safe_serialization=True)
    how = {"sampler": "ddim", "steps": params.steps, "guidance": 1.0}
    write_json(student / SETTINGS, {**how, "teacher": {"steps": params.teacher_steps, "guidance": params.guidance}})


def distilling(params: Distill, latents: Path, model: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.diffusion.distillation import Distilling
    from components.engines.diffusion.parts import Parts
    from components.engines.diffusion.task import CachedInputs
    from components.engines.latents.cache import EncodedSamples

    teacher = Parts.load(model)
    return Distilling(
        teacher.network,
        teacher.scheduler,
        CachedInputs(EncodedSamples(latents, "train")),
        CachedInputs(EncodedSamples(latents, "valid")),
        null=teacher.encode_prompts([""]),
        steps=params.steps,
        teacher_steps=params.teacher_steps,
        guidance=params.guidance,
        optimizer_steps=params.optimizer_steps,
        valid_samples=params.valid_samples,
        seed=params.training.seed,
    )


if __name__ == "__main__":
    stage.main(distill)
