"""Params of one training run, shared by every room: each room's section holds them under `training`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from components.engines.base.errors import UsageError
from components.engines.base.params import Params
from components.engines.training.parallel.layout import Layout, settle

# What may differ between a checkpoint and the run that resumes it: where and how often, never what is learnt.
# Recomputed activations are the same numbers, so gradient checkpointing may change where memory ran out.
OPERATIONAL = {
    "num_workers",
    "num_threads",
    "layout",
    "max_failures",
    "collective_timeout_s",
    "budget",
    "gradient_checkpointing",
    "checkpoint_every",
    "keep_checkpoints",
    "async_checkpoints",
    "peak_tflops",
    "profile",
}


class Budget(Params):
    """What a run may cost, earlier attempts included: spent, it saves and stops."""

    max_hours: float | None = Field(None, gt=0)
    max_cost: float | None = Field(None, gt=0)
    price_per_hour: float | None = Field(None, gt=0, description="of all workers together, in the unit of max_cost")

    @model_validator(mode="after")
    def _consistent(self) -> Budget:
        if self.max_hours is None and self.max_cost is None:
            raise ValueError("a budget needs max_hours, or max_cost with price_per_hour")
        if (self.max_cost is None) != (self.price_per_hour is None):
            raise ValueError("max_cost and price_per_hour need each other")
        return self

    @property
    def hours(self) -> float:
        """The hours after which the tighter limit is reached."""
        limits = [
            self.max_hours,
            self.max_cost / self.price_per_hour if self.max_cost and self.price_per_hour else None,
        ]
        return min(limit for limit in limits if limit is not None)

    def words(self) -> str:
        hours = f"{self.max_hours:g} hours" if self.max_hours is not None else ""
        cost = f"{self.max_cost:g} at {self.price_per_hour:g} an hour" if self.max_cost is not None else ""
        return " or ".join(filter(None, [hours, cost]))


class Spike(Params):
    """When a loss counts as a spike, and how often the run may go back behind one."""

    factor: float = Field(gt=1, description="times the median of the last `window` losses of the turn")
    window: int = Field(gt=1, description="steps")
    max_rewinds: int = Field(gt=0)


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
    optimizer: Literal["fused", "foreach", "plain"] = Field(
        "fused", description="AdamW in one kernel, in a few over lists of tensors, or tensor by tensor"
    )
    clip_norm: float | None = Field(1.0, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of the forward pass; weights stay fp32. fp16 scales the loss and may skip steps"
    )
    gradient_checkpointing: Literal["off", "selective", "full"] = Field(
        "off", description="recompute the blocks' activations in backward: all but products and attention, or all"
    )
    compile: bool = Field(False, description="torch.compile the modules; one compilation per shape unless fast")
    ema_decay: float | None = Field(None, gt=0, lt=1)
    score_every: int | None = Field(None, gt=0, description="steps; the last step is scored too; null: never")
    checkpoint_every: int = Field(500, gt=0, description="steps")
    keep_checkpoints: int = Field(
        2, gt=0, description="the newest ones; the best one is kept besides with select: best"
    )
    async_checkpoints: bool = Field(True, description="written by a thread from a copy, while training goes on")
    log_every: int = Field(10, gt=0, description="steps per row of the curve")
    patience: int | None = Field(None, gt=0, description="stop after so many scores without a better one")
    select: Literal["last", "best"] = "last"
    select_metric: str = "loss"
    select_mode: Literal["min", "max"] = "min"
    num_workers: Literal["auto"] | int = "auto"
    layout: Layout = Field(
        default_factory=Layout, description="how the workers split the work; data parallel by default"
    )
    num_threads: int | None = Field(None, gt=0, description="of torch, per worker; null: torch's own choice")
    max_failures: int = Field(0, ge=0, description="worker deaths after which Ray restarts the workers by itself")
    collective_timeout_s: float | None = Field(
        None,
        gt=0,
        description="how long ranks wait for one that is late, scoring and saving included; null: torch's own",
    )
    spike: Spike | None = Field(None, description="go back to the last checkpoint and skip the batches that led there")
    budget: Budget | None = None
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
        if self.precision == "fp16" and self.layout.splits_networks:
            raise ValueError("precision fp16 scales losses under data parallelism only: use bf16 with this layout")
        if isinstance(self.peak_tflops, float) and self.peak_tflops <= 0:
            raise ValueError("peak_tflops must be above 0, 'measure' or null")
        if isinstance(self.num_workers, int) and self.num_workers < 0:
            raise ValueError("num_workers must be 'auto' or at least 0")
        return self

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is learnt, as JSON: a checkpoint is resumed under these only."""
        operational = OPERATIONAL if self.spike is None else OPERATIONAL - {"checkpoint_every"}  # where it goes back to
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in operational}


def micro_batch_size(training: Training, world: int) -> int:
    """Samples of one micro-batch on one rank. Raises UsageError, with the numbers, if layout or sizes leave a rest."""
    replicas = settle(training.layout, world).batches
    pieces = training.accumulation_steps * replicas
    size, rest = divmod(training.batch_size, pieces)
    if rest:
        raise UsageError(
            f"batch_size {training.batch_size} cannot be split into accumulation_steps {training.accumulation_steps} "
            f"× {replicas} {'workers' if replicas == world else 'data replicas'} = {pieces} equal micro-batches "
            f"({rest} samples left over)",
            do=f"make batch_size a multiple of {pieces}, e.g. {max(1, size) * pieces}, or change the other two",
        )
    return size
