"""Training on cached latents beside encoding in every step, at the size of a published video model: Wan 2.1 of 1.3 G parameters.

Its transformer (bf16), UMT5-XXL (4.7 G without most of its vocabulary, 512 tokens, bf16) and Wan's autoencoder, untrained: speed
does not depend on what weights are. At 256 px, where Wan's own training begins (arXiv 2503.20314): a picture, and 5 frames.
The optimiser (the same work in both ways) is left out for the memory that it takes. Needs 18 GB of memory and some minutes:
`python -m benchmarks published_videos`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.painting import row
from benchmarks.proportions import LATENT_PX, WAN, WAN_TOKENS
from benchmarks.published import t5_xxl
from benchmarks.scenes import write_clip, write_scenes
from benchmarks.shards import scratch
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.task import CachedInputs, Inputs
from components.engines.diffusion.video_encoding import Fitted
from components.engines.diffusion.video_task import EncodedVideos, VideoDenoising
from components.engines.latents.video import latent_shape
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.videos.buckets import Bucket, fitted
from components.engines.videos.dataset import Video
from components.engines.videos.encode import encode_mp4

PX, BATCH = 256, 1
BARS = {1: 2.0, 5: None}  # by frames


class Stored(CachedInputs):
    """One sample many times, as a cache has it."""

    def __init__(self, sample: dict[str, np.ndarray], count: int) -> None:
        super().__init__([sample] * count)
        self.shapes = [sample["latents"].shape] * count


def run(repeats: int) -> list[dict[str, Any]]:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    with scratch() as root:
        write_scenes(root / "scenes", {"train": 8}, per_shard=8)
        write_clip(root / "clip", root / "scenes")
        text = Conditioner(t5_xxl(), load_tokenizer(root / "clip"), WAN_TOKENS)
    autoencoder = AutoencoderKLWan().eval().requires_grad_(False)
    with torch.device("meta"):
        denoiser = WanTransformer3DModel(**WAN).to(torch.bfloat16)
    denoiser = denoiser.to_empty(device="cpu").train()
    for tensor in [*denoiser.parameters(), *denoiser.buffers()]:
        torch.nn.init.constant_(tensor, 0.01)
    return [measured(denoiser, autoencoder, text, frames, bar, min(repeats, 3)) for frames, bar in BARS.items()]


def measured(
    denoiser: Any, autoencoder: Any, text: Conditioner, frames: int, bar: float | None, repeats: int
) -> dict[str, Any]:
    ways = tasks(denoiser, autoencoder, text, frames)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):  # the first warms up
        for name, task in ways.items():
            spent = step(task)
            if number:
                seconds[name].append(spent)
    cached, encoding = (statistics.median(seconds[name]) for name in ("cached", "encoding"))
    ratios = [one / other for one, other in zip(seconds["encoding"], seconds["cached"], strict=True)]
    name = f"train on cached latents / encode in every step (steps/s), Wan 2.1 1.3B, {frames} frames of {PX} px"
    return row(name, 1 / cached, 1 / encoding, ratios, bar)


def tasks(denoiser: Any, autoencoder: Any, text: Conditioner, frames: int) -> dict[str, VideoDenoising]:
    """The same denoiser fed in both ways."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    bucket = Bucket(frames=frames, height=PX, width=PX)
    encoder: Any = SimpleNamespace(
        autoencoder=autoencoder,
        conditioner=text,
        buckets=(bucket,),
        fitted=lambda video: Fitted(fitted(video.frames(), bucket), video.caption),
    )
    shape = latent_shape(autoencoder, frames, PX, PX)
    assert shape[2] == PX // LATENT_PX
    rng = np.random.default_rng(0)
    stored: dict[str, np.ndarray] = {
        "latents": rng.standard_normal(shape, dtype=np.float32),
        "embeddings": rng.standard_normal((WAN_TOKENS, text.width), dtype=np.float32),
        "mask": np.ones(WAN_TOKENS, np.uint8),
    }
    inputs: dict[str, Inputs] = {
        "cached": Stored(stored, BATCH),
        "encoding": EncodedVideos(clips(frames), encoder, range(BATCH)),
    }
    null = (torch.zeros(1, WAN_TOKENS, text.width), torch.ones(1, WAN_TOKENS, dtype=torch.long))
    options: dict[str, Any] = {"caption_dropout": 0.0, "valid_samples": 1, "seed": 0}
    scheduler = FlowMatchEulerDiscreteScheduler()
    return {name: VideoDenoising(denoiser, scheduler, one, one, null, **options) for name, one in inputs.items()}


def clips(frames: int) -> Sequence[Video]:
    """A slope of greys that moves, with a caption that fills the text encoder's tokens."""
    ramp = np.arange(PX, dtype=np.uint8)
    moving = [np.broadcast_to(np.roll(ramp, 8 * at)[None, :, None], (PX, PX, 3)).copy() for at in range(frames)]
    metadata = {"frames": frames, "height": PX, "width": PX}
    return [Video("slope", encode_mp4(moving, 16), " ".join(["grey"] * WAN_TOKENS), metadata)] * BATCH


def step(task: VideoDenoising) -> float:
    """Seconds of a forward and a backward pass, from the clips' files to the gradients."""
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = task.loss(task.batch(np.arange(BATCH), epoch=0))
    loss.backward()
    task.network.zero_grad()
    return time.perf_counter() - begin
