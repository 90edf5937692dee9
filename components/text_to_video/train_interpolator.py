"""Temporal super-resolution: training of the network that finds the frame between two."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage


class TrainInterpolator(Trained):
    """An Interpolator of this width, on frames `px` on a side: as large as those that it will stand between."""

    width: Positive = 16
    px: Positive = 64


def train_interpolator(
    params: TrainInterpolator,
    context: StageContext,
    curated: Path,
    checked: Path,
    interpolator: Path,
    interpolator_curve: Path,
) -> None:
    """Write the interpolator's folder (safetensors) and its loss curve (CSV); not `enabled`, it gives the mean of two frames."""
    from components.engines.checks.stage import require_passed

    require_passed(checked)
    learnt = train_stage(context, params, partial(interpolating, params, curated), interpolator_curve)
    network = start(params)
    learnt.load(network, "interpolator")
    network.save(interpolator)


def interpolating(params: TrainInterpolator, curated: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.super_resolution.interpolation_task import Interpolating
    from components.engines.videos.dataset import Videos

    train, valid = Videos(curated, "train"), Videos(curated, "valid")
    return Interpolating(start(params), train, valid, px=params.px, seed=params.training.seed)


def start(params: TrainInterpolator) -> Any:
    from components.engines.base.seeds import seed_everything
    from components.engines.super_resolution.interpolator import Interpolator

    seed_everything(params.training.seed, "interpolator")
    return Interpolator(params.width)


if __name__ == "__main__":
    stage.main(train_interpolator)
