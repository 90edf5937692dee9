"""Latents and text embeddings of all curated clips, computed once: training then runs neither encoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from components.engines.base import stage
from components.engines.base.params import GpusPerWorker, MaxBadFraction, Params, Positive, Workers
from components.engines.base.stage import StageContext
from components.text_to_video.architecture import Architecture


class CacheLatents(Params):
    """How the encodings are stored and who computes them (`workers` 0: this process; N: Ray actors)."""

    dtype: Literal["fp16", "fp32"] = "fp16"
    batch_size: Positive = 16
    workers: Workers = 0
    gpus_per_worker: GpusPerWorker = "auto"
    max_bad_fraction: MaxBadFraction = 0.2


def cache_latents(
    params: CacheLatents,
    architecture: Architecture,
    context: StageContext,
    curated: Path,
    autoencoder: Path,
    text_encoder: Path,
    latents: Path,
) -> None:
    """Write the encodings of every split (see engines/latents/cache.py); clips that fill no bucket are counted and left out."""
    from components.engines.diffusion.video_encoding import VideoEncoder, video_encoding_key, write_shapes
    from components.engines.latents.cache import write_encoded

    write_encoded(
        partial(VideoEncoder, autoencoder, text_encoder, architecture.buckets),
        curated,
        latents,
        key=video_encoding_key(autoencoder, text_encoder, architecture.buckets),
        work=context.work / "map",
        dtype=params.dtype,
        batch_size=params.batch_size,
        workers=params.workers,
        resources={"CPU": 1, "GPU": params.gpus_per_worker},
        max_bad_fraction=params.max_bad_fraction,
    )
    write_shapes(latents)


if __name__ == "__main__":
    stage.main(cache_latents)
