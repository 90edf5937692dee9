"""Spatial super-resolution: training of the upscaler that generated frames go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Still:
    """The middle frame of a video, opened as captioned pictures are."""

    frame: Callable[[int], Any]
    place: int

    def open(self) -> Any:
        from PIL import Image

        return Image.fromarray(self.frame(self.place))


class Stills(Sequence[Still]):
    """The middle frames of videos, read when they are opened."""

    def __init__(self, videos: Any) -> None:
        from components.engines.videos.kept import Kept

        self.videos = videos
        self.frame = Kept(self._middle)

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [Still(self.frame, place) for place in range(len(self))[index]]
        return Still(self.frame, range(len(self))[index])

    def _middle(self, place: int) -> Any:
        frames = self.videos[place].frames()
        return frames[len(frames) // 2].copy()  # a view would keep the whole clip


if __name__ == "__main__":
    stage.main(train_upscaler)
