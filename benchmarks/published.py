"""Training on cached latents beside encoding in every step, at the size of a published model: PixArt-alpha at 256 px.

Its denoiser (.6 G parameters), T5-XXL (4.7 G, 120 tokens) and the autoencoder of Stable Diffusion, untrained: speed does not
depend on what weights are. Four pictures a step, denoiser and text encoder in bf16, the optimiser (the same work in both ways)
left out for the memory that it takes. Needs 18 GB of memory and some minutes: `python -m benchmarks published`.
"""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.painting import row
from benchmarks.proportions import LATENT_PX, PIXART_XL, T5_XXL, VAE
from benchmarks.scenes import write_clip, write_scenes
from benchmarks.shards import scratch
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.task import CachedInputs, Denoising, EncodedInputs, Inputs
from components.engines.nn.checkpoints import load_tokenizer

PX, TOKENS = 256, 120
BATCH = 4
PICTURES = 2 * BATCH


def run(repeats: int) -> list[dict[str, Any]]:
    with scratch() as root:
        write_scenes(root / "scenes", {"train": PICTURES}, per_shard=PICTURES)
        write_clip(root / "clip", root / "scenes")
        text = Conditioner(t5_xxl(), load_tokenizer(root / "clip"), TOKENS)
        pairs = [with_long_caption(one) for one in CaptionedImages(root / "scenes", "train")]
    ways = tasks(text, pairs)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(min(repeats, 3) + 1):  # the first warms up
        for name, task in ways.items():
            spent = step(task, number)
            if number:
                seconds[name].append(spent)
    cached, encoding = (statistics.median(seconds[name]) for name in ("cached", "encoding"))
    ratios = [one / other for one, other in zip(seconds["encoding"], seconds["cached"], strict=True)]
    name = f"train on cached latents / encode in every step (steps/s), PixArt-alpha at {PX} px"
    return [row(name, 1 / cached, 1 / encoding, ratios, 2.0)]


def tasks(text: Conditioner, pairs: list[Captioned]) -> dict[str, Denoising]:
    """The same denoiser fed in both ways."""
    from diffusers import AutoencoderKL, DDIMScheduler, PixArtTransformer2DModel

    side = PX // LATENT_PX
    denoiser = PixArtTransformer2DModel(sample_size=side, **PIXART_XL).train()
    encoder: Any = SimpleNamespace(autoencoder=AutoencoderKL(**VAE).eval(), conditioner=text, image_px=PX)
    rng = np.random.default_rng(0)
    stored = {
        "latents": rng.standard_normal((4, side, side), dtype=np.float32),
        "embeddings": rng.standard_normal((TOKENS, text.width), dtype=np.float32),
        "mask": np.ones(TOKENS, np.uint8),
    }
    inputs: dict[str, Inputs] = {"cached": CachedInputs([stored] * PICTURES), "encoding": EncodedInputs(pairs, encoder)}  # type: ignore[arg-type]
    null = (torch.zeros(1, TOKENS, text.width), torch.ones(1, TOKENS, dtype=torch.long))
    options = {"caption_dropout": 0.0, "valid_samples": 1, "seed": 0}
    return {name: Denoising(denoiser, DDIMScheduler(), one, one, null, **options) for name, one in inputs.items()}


def step(task: Denoising, number: int) -> float:
    """Seconds of a forward and a backward pass, from the pictures' files to the gradients."""
    indices = np.arange(number * BATCH, (number + 1) * BATCH) % PICTURES
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = task.loss(task.batch(indices, epoch=0))
    loss.backward()
    task.network.zero_grad()
    return time.perf_counter() - begin


def t5_xxl() -> Any:
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        network = T5EncoderModel(T5Config(vocab_size=32128, **T5_XXL)).to(torch.bfloat16)
    network.to_empty(device="cpu")
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    return network


def with_long_caption(one: Captioned) -> Captioned:
    """As PixArt's are, written by a model that describes all there is: they fill its tokens."""
    return Captioned(one.key, one.image, " ".join([one.caption] * TOKENS), one.metadata)
