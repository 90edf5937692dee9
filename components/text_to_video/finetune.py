"""Training of the denoiser on videos and pictures together, and the finished model folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import Fraction, Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.text_to_video.architecture import Architecture, Denoiser


class Finetune(Trained):
    """Joint training (Ho et al. 2022, arXiv 2204.03458): a picture is a video of one frame, and every batch holds both.

    `pictures` false leaves pictures out; of the videos `videos_fraction` are learnt (to compare). `pictures_share` is the mean
    share of pictures in a batch: the fewer of the two are drawn again as often as that takes. Null draws all equally often, and
    where pictures are many hardly a video is among them. `on_the_fly` runs both encoders in every step instead of reading stored
    latents. Not `enabled`, the pretrained denoiser is used as it is.
    """

    pictures: bool = True
    pictures_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    videos_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    caption_dropout: Fraction = 0.1
    on_the_fly: bool = False
    checked_samples: Positive = 4
    valid_samples: Positive = 128


def finetune(
    params: Finetune,
    architecture: Architecture,
    denoiser: Denoiser,
    context: StageContext,
    curated: Path,
    autoencoder: Path,
    text_encoder: Path,
    latents: Path,
    pretrained: Path,
    model: Path,
    finetune_curve: Path,
) -> None:
    """Write the model folder (a pipeline of diffusers) and the loss curve (CSV).

    Raises StageError if the stored latents are not what the encoders make of the clips now.
    """
    from components.text_to_video.networks.start import check_cache, start

    seed = params.training.seed
    if params.enabled and not params.on_the_fly:
        check_cache(architecture, curated, autoencoder, text_encoder, latents, params.checked_samples, seed)
    make_task = partial(
        denoising, params, architecture, denoiser, curated, autoencoder, text_encoder, latents, pretrained
    )
    learnt = train_stage(context, params, make_task, finetune_curve)
    parts = start(architecture, denoiser, autoencoder, text_encoder, seed, pretrained)
    learnt.load(parts.network, "network")
    parts.save(model)


def denoising(
    params: Finetune,
    architecture: Architecture,
    denoiser: Denoiser,
    curated: Path,
    autoencoder: Path,
    text_encoder: Path,
    latents: Path,
    pretrained: Path,
) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.diffusion.video_encoding import VideoEncoder, read_shapes
    from components.engines.diffusion.video_task import CachedVideos, EncodedVideos, VideoDenoising
    from components.engines.videos.dataset import Videos
    from components.text_to_video.networks.start import start

    parts = start(architecture, denoiser, autoencoder, text_encoder, params.training.seed, pretrained)
    encoder = VideoEncoder(autoencoder, text_encoder, architecture.buckets, "cpu") if params.on_the_fly else None

    def inputs(split: str, pictures: bool, fraction: float, share: float | None = None) -> Any:
        if encoder is None:
            frames = [shape[1] for shape in read_shapes(latents, split)]
            return CachedVideos(latents, split, chosen(frames, pictures, fraction, share))
        videos = Videos(curated, split)
        return EncodedVideos(
            videos, encoder, chosen([one.metadata["frames"] for one in videos], pictures, fraction, share)
        )

    return VideoDenoising(
        parts.network.train(),
        parts.scheduler,
        inputs("train", params.pictures, params.videos_fraction, params.pictures_share),
        inputs("valid", False, 1.0),
        parts.encode_prompts([""]),
        caption_dropout=params.caption_dropout,
        valid_samples=params.valid_samples,
        seed=params.training.seed,
    )


def chosen(frames: list[int], pictures: bool, fraction: float, share: float | None = None) -> list[int]:
    """The places of what is learnt, by the frames of each: all pictures or none, and every n-th video.

    So that pictures are `share` of them, the places of one of the two are there several times.
    """
    videos = [place for place, count in enumerate(frames) if count > 1]
    step = 1 / fraction
    kept = [videos[int(number * step)] for number in range(int(len(videos) * fraction))]
    stills = [place for place, count in enumerate(frames) if count == 1 and pictures]
    if share is not None and kept and stills:
        wanted = round(len(stills) * (1 - share) / share)
        if wanted >= len(kept):
            kept = _repeated(kept, wanted)
        else:
            stills = _repeated(stills, round(len(kept) * share / (1 - share)))
    return sorted([*kept, *stills])


def _repeated(places: list[int], count: int) -> list[int]:
    return [places[number % len(places)] for number in range(count)]


if __name__ == "__main__":
    stage.main(finetune)
