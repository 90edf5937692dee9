"""Params of one training run, shared by every room: each room's section holds them under `training`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from components.engines.base.errors import UsageError
from components.engines.base.params import Params

# What may differ between a checkpoint and the run that resumes it: where and how often, never what is learnt.
OPERATIONAL = {"num_workers", "num_threads", "max_failures", "checkpoint_every", "peak_tflops", "profile"}


class Profile(Params):
    """Which steps a profiler trace is written of."""

    first_step: int = Field(10, ge=0, description="counted from 0; the first few also set things up")
    steps: int = Field(5, gt=0, description="a trace takes some MB a step")


class Training(Params):
    """Everything the loop needs to know; sizes are global, so that they mean the same on one process or many."""

    max_steps: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="samples per step, over all ranks and micro-batches")
    accumulation_steps: int = Field(1, gt=0, description="micro-batches a rank adds up before it steps")
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = "cosine"
    warmup_steps: int = Field(0, ge=0)
    min_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0, description="of matrices only, never of biases, gains or single vectors")
    adam_betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = Field(1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    ema_decay: float | None = Field(None, gt=0, lt=1)
    score_every: int | None = Field(None, gt=0, description="steps; the last step is scored too; null: never")
    checkpoint_every: int = Field(500, gt=0, description="steps")
    log_every: int = Field(10, gt=0, description="steps per row of the curve")
    patience: int | None = Field(None, gt=0, description="stop after so many scores without a better one")
    select: Literal["last", "best"] = "last"
    select_metric: str = "loss"
    select_mode: Literal["min", "max"] = "min"
    num_workers: Literal["auto"] | int = "auto"
    num_threads: int | None = Field(None, gt=0, description="of torch, per worker; null: torch's own choice")
    max_failures: int = Field(0, ge=0, description="worker deaths after which Ray restarts the workers by itself")
    peak_tflops: float | Literal["measure"] | None = Field(
        None, description="of one device in this precision, for MFU; null: from the table of GPUs"
    )
    profile: Profile | None = None
    fast: bool = Field(False, description="give up bitwise repeatability for speed")
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.warmup_steps >= self.max_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below max_steps {self.max_steps}")
        if self.score_every is None and (self.patience is not None or self.select == "best"):
            raise ValueError("patience and select: best need score_every")
        if isinstance(self.peak_tflops, float) and self.peak_tflops <= 0:
            raise ValueError("peak_tflops must be above 0, 'measure' or null")
        if isinstance(self.num_workers, int) and self.num_workers < 0:
            raise ValueError("num_workers must be 'auto' or at least 0")
        return self

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is learnt, as JSON: a checkpoint is resumed under these only."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in OPERATIONAL}


def micro_batch_size(training: Training, world: int) -> int:
    """Samples of one micro-batch on one rank. Raises UsageError, with the numbers, if the split leaves a rest."""
    pieces = training.accumulation_steps * world
    size, rest = divmod(training.batch_size, pieces)
    if rest:
        raise UsageError(
            f"batch_size {training.batch_size} cannot be split into accumulation_steps {training.accumulation_steps} "
            f"× {world} workers = {pieces} equal micro-batches ({rest} samples left over)",
            do=f"make batch_size a multiple of {pieces}, e.g. {max(1, size) * pieces}, or change the other two",
        )
    return size
