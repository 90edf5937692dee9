"""Params of one training run, shared by every room: each room's section holds them under `training`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.engines.base.cluster import RESOURCES_TIMEOUT_S
from components.engines.base.errors import UsageError
from components.engines.base.params import OPERATIONAL, Params
from components.engines.training.parallel.layout import Layout, settle


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


class TurnSettings(Params):
    """What one turn does otherwise than the run; null: as the run does."""

    learning_rate: float | None = Field(
        None, gt=0, description="the peak; warmed up from start_step on, then the schedule"
    )
    adam_betas: tuple[float, float] | None = None
    weight_decay: float | None = Field(None, ge=0)
    start_step: int = Field(0, ge=0, description="the first step, counted from 0, in which the turn moves")


class Profile(Params):
    """Which steps a profiler trace is written of."""

    first_step: int = Field(10, ge=0, description="counted from 0; the first few also set things up")
    steps: int = Field(5, gt=0, description="a trace takes some MB a step")


class Training(Params):
    """Everything the loop needs to know; sizes are global, so that they mean the same on one process or many.

    A run goes on from its last checkpoint when fields marked OPERATIONAL change (recomputed activations are the same numbers,
    so gradient checkpointing may change where memory ran out); under any other change it starts anew.
    """

    max_steps: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="samples per step, over all ranks and micro-batches")
    accumulation_steps: int = Field(1, gt=0, description="micro-batches a rank adds up before it steps")
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = "cosine"
    warmup_steps: int = Field(0, ge=0)
    min_learning_rate_ratio: float = Field(0.0, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0, description="of matrices only, never of biases, gains or single vectors")
    adam_betas: tuple[float, float] = (0.9, 0.999)
    turns: dict[str, TurnSettings] = Field(
        default_factory=dict, description="by the name of a turn, where it has settings of its own"
    )
    optimizer: Literal["fused", "foreach", "plain"] = Field(
        "fused", description="AdamW in one kernel, in a few over lists of tensors, or tensor by tensor"
    )
    clip_norm: float | None = Field(1.0, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of the forward pass; weights stay fp32. fp16 scales the loss and may skip steps"
    )
    gradient_checkpointing: Annotated[Literal["off", "selective", "full"], OPERATIONAL] = Field(
        "off", description="recompute the blocks' activations in backward: all but products and attention, or all"
    )
    compile: bool = Field(False, description="torch.compile the modules; one compilation per shape unless fast")
    ema_decay: float | None = Field(None, gt=0, lt=1)
    score_every: int | None = Field(None, gt=0, description="steps; the last step is scored too; null: never")
    checkpoint_every: Annotated[int, OPERATIONAL] = Field(500, gt=0, description="steps")
    keep_checkpoints: Annotated[int, OPERATIONAL] = Field(
        2, gt=0, description="the newest ones; the best one is kept besides"
    )
    async_checkpoints: Annotated[bool, OPERATIONAL] = Field(
        True, description="written by a thread from a copy, while training goes on"
    )
    log_every: int = Field(10, gt=0, description="steps per row of the curve")
    patience: int | None = Field(None, gt=0, description="stop after so many scores without a better one")
    select: Literal["last", "best"] | None = Field(
        None,
        description="which weights are the result; null: the best where a validation split scores them, else the last",
    )
    select_metric: str = "loss"
    select_mode: Literal["min", "max"] = "min"
    num_workers: Annotated[Literal["auto"] | int, OPERATIONAL] = Field(
        "auto", description="with a GPU each where the cluster has GPUs; auto: one per GPU; 0: this process"
    )
    layout: Annotated[Layout, OPERATIONAL] = Field(
        default_factory=Layout, description="how the workers split the work; data parallel by default"
    )
    num_threads: Annotated[int | None, OPERATIONAL] = Field(
        None, gt=0, description="of torch, per worker; null: torch's own choice"
    )
    loader_workers: Annotated[int, OPERATIONAL] = Field(
        0, ge=0, description="processes per worker that make batches, in the same order; 0: a thread of the worker"
    )
    max_failures: Annotated[int, OPERATIONAL] = Field(
        0, ge=0, description="lost workers or nodes after which Ray starts the workers again by itself"
    )
    resources_timeout_s: Annotated[float, OPERATIONAL] = Field(
        RESOURCES_TIMEOUT_S, gt=0, description="how long a cluster may take to make room for the workers"
    )
    collective_timeout_s: Annotated[float | None, OPERATIONAL] = Field(
        None,
        gt=0,
        description="how long ranks wait for one that is late, scoring and saving included; null: torch's own",
    )
    budget: Annotated[Budget | None, OPERATIONAL] = None
    peak_tflops: Annotated[float | Literal["measure"] | None, OPERATIONAL] = Field(
        None, description="of one device in this precision, for MFU; null: from the table of GPUs"
    )
    profile: Annotated[Profile | None, OPERATIONAL] = None
    fast: bool = Field(False, description="give up bitwise repeatability for speed")
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.warmup_steps >= self.max_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below max_steps {self.max_steps}")
        late = [name for name, turn in self.turns.items() if turn.start_step >= self.max_steps]
        if late:
            raise ValueError(f"turns that start at max_steps or later never move: {', '.join(late)}")
        if self.score_every is None and (self.patience is not None or self.selects_best):
            raise ValueError("patience and select: best need score_every")
        if self.precision == "fp16" and self.layout.splits_networks:
            raise ValueError("precision fp16 scales losses under data parallelism only: use bf16 with this layout")
        if isinstance(self.peak_tflops, float) and self.peak_tflops <= 0:
            raise ValueError("peak_tflops must be above 0, 'measure' or null")
        if isinstance(self.num_workers, int) and self.num_workers < 0:
            raise ValueError("num_workers must be 'auto' or at least 0")
        return self

    def of_turn(self, name: str) -> Training:
        """The settings of one turn."""
        own = self.turns.get(name, TurnSettings()).model_dump(exclude={"start_step"}, exclude_none=True)
        return self.model_copy(update=own)

    @property
    def selects_best(self) -> bool:
        return self.select == "best" or (self.select is None and self.score_every is not None)


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
