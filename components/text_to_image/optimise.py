"""The trained denoiser made cheaper: a student of few steps without guidance, and a copy with 8-bit weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.training.params import Training

STUDENT, SETTINGS, INT8 = "student", "student.json", "int8"


class Optimise(Params):
    """Distillation of the teacher at `teacher_steps` of DDIM and `guidance` to `steps` without; `moves` of the optimiser for each
    batch of the teacher's ways. `training.batch_size` counts ways: each has `steps` places to learn at."""

    steps: Positive = 4
    teacher_steps: Positive = 8
    guidance: Annotated[float, Field(ge=1)] = 3.0
    moves: Positive = 2
    valid_samples: Positive = 64
    training: Training

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.teacher_steps % self.steps:
            raise ValueError(f"teacher_steps {self.teacher_steps} must be a multiple of steps {self.steps}")
        return self


def optimise(
    params: Optimise, context: StageContext, latents: Path, model: Path, optimised: Path, optimise_curve: Path
) -> None:
    """Write `student/` (with student.json: how it samples) and `int8/`, folders that Generator.load takes as `network`, and
    the distillation's loss curve (CSV)."""
    from components.engines.tracking.runs import stage_run
    from components.engines.training.curve import write_curve
    from components.engines.training.launch import launch
    from components.engines.training.weights import load_module
    from components.text_to_image.generator import Generator
    from components.text_to_image.model import FOLDERS
    from components.text_to_image.quantising import quantise

    with stage_run(context, params.model_dump()) as run:
        make_task = partial(distilling, params, latents, model)
        fit = launch(make_task, params.training, work=context.work, observer_factory=run.observer)
        run.log_metrics(fit.scores)
    student = Generator.load(model).network
    load_module(student, fit.weights / "student.safetensors")
    student.save_pretrained(optimised / STUDENT, safe_serialization=True)
    how = {"sampler": "ddim", "steps": params.steps, "guidance": 1.0}
    taught = {"steps": params.teacher_steps, "guidance": params.guidance}
    write_json(optimised / STUDENT / SETTINGS, {**how, "teacher": taught})
    quantise(next(model / name for name in FOLDERS.values() if (model / name).is_dir()), optimised / INT8)
    write_curve(optimise_curve, fit.curve)


def distilling(params: Optimise, latents: Path, model: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.shards.encoded import EncodedSamples
    from components.text_to_image.denoising import CachedInputs
    from components.text_to_image.distilling import Distilling
    from components.text_to_image.generator import Generator

    teacher = Generator.load(model)
    return Distilling(
        teacher.network,
        teacher.scheduler,
        CachedInputs(EncodedSamples(latents, "train")),
        CachedInputs(EncodedSamples(latents, "valid")),
        null=teacher.encode_prompts([""]),
        steps=params.steps,
        teacher_steps=params.teacher_steps,
        guidance=params.guidance,
        moves=params.moves,
        valid_samples=params.valid_samples,
        seed=params.training.seed,
    )


if __name__ == "__main__":
    stage.main(optimise)
