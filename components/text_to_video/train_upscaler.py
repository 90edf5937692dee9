"""Spatial super-resolution: training of the upscaler that generated frames go through."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.super_resolution.stage import UpscalerTraining
from components.text_to_video.architecture import Architecture


class TrainUpscaler(UpscalerTraining):
    """The upscaler of generated frames."""


def train_upscaler(
    params: TrainUpscaler,
    architecture: Architecture,
    context: StageContext,
    curated: Path,
    checked: Path,
    super_resolution: Path,
    super_resolution_curve: Path,
) -> None:
    """Write the upscaler's folder (safetensors) and its loss curve (CSV)."""
    from components.engines.checks.stage import require_passed
    from components.engines.super_resolution.stage import train_upscaler_stage

    require_passed(checked)
    image_px = architecture.longest.height
    make_task = partial(upscaling, params, image_px, curated)
    train_upscaler_stage(context, params, image_px, make_task, super_resolution, super_resolution_curve)


def upscaling(params: TrainUpscaler, image_px: int, curated: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments). Raises UsageError if stored clips are too small."""
    from components.engines.super_resolution.stage import upscaling_task
    from components.engines.videos.dataset import Videos

    train, valid = Videos(curated, "train"), Videos(curated, "valid")
    sizes = [min(one.metadata["width"], one.metadata["height"]) for one in valid]
    return upscaling_task(params, image_px, Stills(train), Stills(valid), sizes, str(curated))


class Still:
    """The middle frame of a video, opened as captioned pictures are."""

    def __init__(self, video: Any) -> None:
        self.video = video

    def open(self) -> Any:
        from PIL import Image

        frames = self.video.frames()
        return Image.fromarray(frames[len(frames) // 2])


class Stills(Sequence[Still]):
    """The middle frames of videos, read when they are opened."""

    def __init__(self, videos: Any) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: Any) -> Any:
        found = self.videos[index]
        return [Still(one) for one in found] if isinstance(index, slice) else Still(found)


if __name__ == "__main__":
    stage.main(train_upscaler)
