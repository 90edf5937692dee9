"""text_to_image's denoiser: training on cached latents beside encoding in every step, and what painting costs.

`python -m benchmarks captioned` runs it. Networks and training are as params.yaml has them, and untrained; one torch thread.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.scenes import write_clip, write_scenes
from benchmarks.shards import scratch, seconds
from benchmarks.turnstile import take_turns, torch_threads
from components.engines.base.params import load_section
from components.engines.base.stage import StageContext
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.generator import Generator
from components.engines.diffusion.text_encoders import of_clip
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.text_to_image.architecture import Architecture
from components.text_to_image.cache_latents import CacheLatents, cache_latents
from components.text_to_image.train import Train, denoising
from components.text_to_image.train import start as start_denoiser
from components.text_to_image.train_autoencoder import start

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
DEFAULT = load_section(Architecture, "text_to_image.architecture", PARAMS)
TRAIN = load_section(Train, "text_to_image.train", PARAMS)
PICTURES, VALID = 1024, 64
WARM_STEPS, STEPS = 3, 20
RUN_STEPS, RUN_PICTURES = TRAIN.training.max_steps, 7000  # of a default run: about as many pictures as are curated
FEW_STEPS, GUIDANCE = 20, 3.0
AT_ONCE = 8  # pictures a batch, where samplers are compared
BATCHES = {1: 8, 8: 16, 64: 64}  # at that batch size: pictures


def run(repeats: int) -> list[dict[str, Any]]:
    with scratch() as root, torch_threads(1):
        write_scenes(root / "curated", {"train": PICTURES, "valid": VALID}, per_shard=256)
        write_clip(root / "clip", root / "curated")
        start(DEFAULT, seed=0).save_pretrained(root / "autoencoder", safe_serialization=True)
        of_clip(root / "clip", DEFAULT.text.max_tokens).save(root / "text_encoder")
        proportional_t5(root / "clip").save(root / "t5")
        generator = start_denoiser(DEFAULT, root / "autoencoder", root / "text_encoder", seed=0)
        rows = training(root, "text_encoder", "default architecture", 2.0, repeats)
        rows += training(root, "t5", "default but for a T5 of PixArt's proportions", None, repeats)
        return [*rows, *sampling(generator, repeats)]


def proportional_t5(clip: Path) -> Conditioner:
    """An encoder of 5.4 M parameters: as much work beside a training step of the default denoiser as PixArt-α's has.

    There 4.8 G parameters read 120 tokens, forward only, while .6 G parameters learn from 256 patches, three times as much work:
    1.2 of the step. Here captions have about 20 tokens and pictures 16 patches.
    """
    from transformers import T5Config, T5EncoderModel

    tokenizer = load_tokenizer(clip)
    shape = {"d_model": 256, "d_kv": 64, "d_ff": 640, "num_heads": 4, "num_layers": 9}
    network = T5EncoderModel(T5Config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape))
    return Conditioner(network, tokenizer, DEFAULT.text.max_tokens)


def training(root: Path, text_encoder: str, name: str, bar: float | None, repeats: int) -> list[dict[str, Any]]:
    """Steps per second from one forward pass of the denoiser to the next; and of a whole run, the cache's making included."""
    parts = Folders(root, text_encoder)
    per_picture = statistics.median(parts.precomputed(number) for number in range(repeats)) / (PICTURES + VALID)
    found = [parts.step_seconds() for _ in range(repeats)]
    cached, encoding = (statistics.median(one[way] for one in found) for way in ("cached", "encoding"))
    made = per_picture * RUN_PICTURES / RUN_STEPS  # seconds of precomputing that fall to a step
    single = [one["encoding"] / one["cached"] for one in found]
    whole = [one["encoding"] / (one["cached"] + made) for one in found]
    title = f"train on cached latents / encode in every step (steps/s), {name}"
    with_cache = f"cache_latents + train, {RUN_STEPS} steps over {RUN_PICTURES} pictures / encode in every step, {name}"
    return [
        row(title, 1 / cached, 1 / encoding, single, bar),
        row(with_cache, 1 / (cached + made), 1 / encoding, whole, None)
        | {"precomputed_pictures_per_second": round(1 / per_picture, 1)},
    ]


@dataclass
class Folders:
    """What the stages `cache_latents` and `train` read and write, below `root`, with one of the text encoders there."""

    root: Path
    text_encoder: str

    @property
    def parts(self) -> tuple[Path, Path, Path, Path]:
        root = self.root
        return root / "curated", root / "autoencoder", root / self.text_encoder, root / f"latents-{self.text_encoder}"

    def precomputed(self, number: int) -> float:
        """Seconds of the stage `cache_latents`, whose output stays for training."""
        work = self.root / f"cache_latents-{self.text_encoder}-{number}"
        work.mkdir()
        context = StageContext("text_to_image", "cache_latents", "key", work, self.root, {}, {})
        return seconds(lambda: cache_latents(CacheLatents(), DEFAULT, context, *self.parts))

    def step_seconds(self) -> dict[str, float]:
        """Median seconds of a step of both ways, their steps taking turns."""
        turns = take_turns({"cached": partial(self.train, False), "encoding": partial(self.train, True)})
        return {name: statistics.median(values[WARM_STEPS:]) for name, values in turns.seconds.items()}

    def train(self, on_the_fly: bool, on_step: Callable[[], None]) -> None:
        never = WARM_STEPS + STEPS + 1
        changes = {"max_steps": never, "score_every": never, "checkpoint_every": never, "num_threads": 1}
        settings = TRAIN.training.model_copy(update=changes)
        params = TRAIN.model_copy(update={"on_the_fly": on_the_fly, "valid_samples": VALID, "training": settings})

        def make_task() -> Any:
            task = denoising(params, DEFAULT, *self.parts)
            task.network.register_forward_pre_hook(lambda *_: on_step() if task.network.training else None)
            return task

        with scratch() as work:
            fit(make_task, settings, work=work, ranks=Ranks.single(torch.device("cpu")))


def sampling(generator: Generator, repeats: int) -> list[dict[str, Any]]:
    levels = generator.scheduler.config.num_train_timesteps
    few = partial(paint, generator, AT_ONCE, AT_ONCE, "ddim", FEW_STEPS)
    many = partial(paint, generator, AT_ONCE, AT_ONCE, "ddpm", levels)
    few()
    pairs = [(seconds(few), seconds(many)) for _ in range(min(repeats, 3))]
    rows = [
        row(
            f"DDIM in {FEW_STEPS} steps / DDPM in {levels} (pictures/s, {AT_ONCE} at once, guided)",
            AT_ONCE / statistics.median(one[0] for one in pairs),
            AT_ONCE / statistics.median(one[1] for one in pairs),
            [many_s / few_s for few_s, many_s in pairs],
            None,
        )
    ]
    times: dict[int, list[float]] = {size: [] for size in BATCHES}
    for _ in range(repeats):
        for size, count in BATCHES.items():
            times[size].append(seconds(partial(paint, generator, count, size, "ddim", FEW_STEPS)) / count)
    alone = statistics.median(times[1])
    for size, spent in times.items():
        rows.append(
            row(
                f"DDIM in {FEW_STEPS} steps, {size} at once / one by one (pictures/s per core, guided)",
                1 / statistics.median(spent),
                1 / alone,
                [one / other for one, other in zip(times[1], spent, strict=True)],
                None,
            )
        )
    return rows


def paint(generator: Generator, count: int, at_once: int, sampler: str, steps: int) -> None:
    prompts = ["a large plain red circle in the top left"] * count
    generator.generate(prompts, seeds=range(count), steps=steps, guidance=GUIDANCE, sampler=sampler, batch_size=at_once)


def row(name: str, ours: float, theirs: float, ratios: list[float], bar: float | None) -> dict[str, Any]:
    """The ratio of the medians, with the range of the ratios of single repeats."""
    return {
        "name": name,
        "ours": round(ours, 3),
        "theirs": round(theirs, 3),
        "ratio": round(ours / theirs, 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "bar": bar,
    }
