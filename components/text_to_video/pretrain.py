"""Pretraining of the denoiser on pictures: the middle frame of every clip, and the pictures there are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Fraction, Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.text_to_video.architecture import Architecture, Denoiser


class Pretrain(Trained):
    """Diffusion training on videos of one frame. Not `enabled`, the denoiser stays as it starts (random, or the checkpoint's).

    `caption_dropout` of the captions are replaced by the empty one; `checked_samples` stored latents are encoded again first.
    """

    caption_dropout: Fraction = 0.1
    checked_samples: Positive = 4
    valid_samples: Positive = 128


def pretrain(
    params: Pretrain,
    architecture: Architecture,
    denoiser: Denoiser,
    context: StageContext,
    curated: Path,
    autoencoder: Path,
    text_encoder: Path,
    latents: Path,
    pretrained: Path,
    pretrain_curve: Path,
) -> None:
    """Write the denoiser's folder (safetensors) and the loss curve (CSV)."""
    from components.text_to_video.networks.start import check_cache, start

    seed = params.training.seed
    if params.enabled:
        check_cache(architecture, curated, autoencoder, text_encoder, latents, params.checked_samples, seed)
    make_task = partial(picture_denoising, params, architecture, denoiser, autoencoder, text_encoder, latents)
    learnt = train_stage(context, params, make_task, pretrain_curve)
    network = start(architecture, denoiser, autoencoder, text_encoder, seed).network
    learnt.load(network, "network")
    network.save_pretrained(pretrained, safe_serialization=True)


def picture_denoising(
    params: Pretrain,
    architecture: Architecture,
    denoiser: Denoiser,
    autoencoder: Path,
    text_encoder: Path,
    latents: Path,
) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.diffusion.video_task import CachedVideos, VideoDenoising
    from components.text_to_video.networks.start import start

    parts = start(architecture, denoiser, autoencoder, text_encoder, params.training.seed)
    return VideoDenoising(
        parts.network.train(),
        parts.scheduler,
        CachedVideos(latents, "train", kind="still"),
        CachedVideos(latents, "valid", kind="still"),
        parts.encode_prompts([""]),
        caption_dropout=params.caption_dropout,
        valid_samples=params.valid_samples,
        seed=params.training.seed,
    )


if __name__ == "__main__":
    stage.main(pretrain)
