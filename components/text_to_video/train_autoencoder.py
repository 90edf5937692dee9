"""The video autoencoder: trained on the curated clips, or the one of the checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from components.engines.base import stage
from components.engines.base.params import Count, Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, require_something, train_stage
from components.text_to_video.architecture import Architecture


class TrainAutoencoder(Trained):
    """Training of the autoencoder, which starts from the checkpoint's where `architecture.init_from` is set.

    In the first `picture_steps` single frames are learnt, in the next `short_steps` a few frames in turn. Not `enabled`, the
    checkpoint's is used as it is. One from scratch is `standardised_over` that many training clips.
    """

    kl_weight: Annotated[float, Field(ge=0)] = 1e-5
    picture_steps: Count = 0
    short_steps: Count = 0
    standardised_over: Positive = 256

    @model_validator(mode="after")
    def _learns_clips(self) -> Self:
        if self.picture_steps + self.short_steps >= self.training.max_steps:
            raise ValueError(
                f"picture_steps {self.picture_steps} + short_steps {self.short_steps} leave none of max_steps "
                f"{self.training.max_steps} for whole clips"
            )
        return self


def train_autoencoder(
    params: TrainAutoencoder,
    architecture: Architecture,
    context: StageContext,
    curated: Path,
    checked: Path,
    autoencoder: Path,
    autoencoder_curve: Path,
) -> None:
    """Write an AutoencoderKLWan or AutoencoderKLCogVideoX folder and its loss curve (CSV)."""
    from components.engines.checks.stage import require_passed
    from components.engines.latents.video import standardise_videos

    require_passed(checked)
    require_something(context, params, architecture.init_from)
    learnt = train_stage(context, params, partial(reconstruction, params, architecture, curated), autoencoder_curve)
    network = start(architecture, params.training.seed)
    learnt.load(network, "autoencoder")
    if architecture.init_from is None:  # the latents of a checkpoint are what its denoiser knows: left as they are
        standardise_videos(network, _batches(architecture, curated, params.standardised_over))
    network.save_pretrained(autoencoder, safe_serialization=True)


def reconstruction(params: TrainAutoencoder, architecture: Architecture, curated: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.latents.video_reconstruction import VideoReconstruction
    from components.engines.videos.dataset import Videos

    return VideoReconstruction(
        start(architecture, params.training.seed),
        Videos(curated, "train"),
        Videos(curated, "valid"),
        bucket=architecture.longest,
        picture_steps=params.picture_steps,
        short_steps=params.short_steps,
        kl_weight=params.kl_weight,
        seed=params.training.seed,
    )


def start(architecture: Architecture, seed: int) -> Any:
    """The autoencoder, random from `seed` or as `init_from` has it."""
    from components.engines.base.seeds import seed_everything
    from components.engines.latents.autoencoder import load_autoencoder
    from components.engines.latents.picture_convolution import quicken
    from components.engines.latents.video import build_video_autoencoder

    seed_everything(seed, "autoencoder")
    if architecture.init_from:
        return quicken(load_autoencoder(architecture.init_from, "vae"))
    return quicken(build_video_autoencoder(architecture.autoencoder, architecture.longest.height))


def _batches(architecture: Architecture, curated: Path, count: int) -> Any:
    """Training clips, evenly spread, as the autoencoder takes them, some at a time."""
    import numpy as np
    import torch

    from components.engines.videos.buckets import fitted
    from components.engines.videos.dataset import Videos

    videos, bucket = Videos(curated, "train"), architecture.longest
    long = [place for place, one in enumerate(videos) if one.metadata["frames"] >= bucket.span]
    chosen = [long[place] for place in np.unique(np.linspace(0, len(long) - 1, min(count, len(long))).astype(int))]
    for first in range(0, len(chosen), 16):
        yield torch.stack([fitted(videos[place].frames(), bucket) for place in chosen[first : first + 16]])


if __name__ == "__main__":
    stage.main(train_autoencoder)
