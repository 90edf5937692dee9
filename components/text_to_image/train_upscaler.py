"""Training of the upscaler that generated pictures go through last."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.super_resolution.stage import UpscalerTraining
from components.text_to_image.architecture import Architecture


class TrainUpscaler(UpscalerTraining):
    """The upscaler of generated pictures."""


def train_upscaler(
    params: TrainUpscaler,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    checked: Path,
    super_resolution: Path,
    super_resolution_curve: Path,
) -> None:
    """Write the upscaler's folder (safetensors) and its loss curve (CSV)."""
    from components.engines.checks.stage import require_passed
    from components.engines.super_resolution.stage import train_upscaler_stage

    require_passed(checked)
    make_task = partial(upscaling, params, architecture.image_px, cleaned)
    train_upscaler_stage(context, params, architecture.image_px, make_task, super_resolution, super_resolution_curve)


def upscaling(params: TrainUpscaler, image_px: int, cleaned: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments). Raises UsageError if stored pictures are too small."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.super_resolution.stage import upscaling_task

    train, valid = CaptionedImages(cleaned, "train"), CaptionedImages(cleaned, "valid")
    sizes = [min(one.metadata["width"], one.metadata["height"]) for one in valid]
    return upscaling_task(params, image_px, train, valid, sizes, str(cleaned))


if __name__ == "__main__":
    stage.main(train_upscaler)
