"""Supervised training on captioned images, from scratch or from a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, require_something, train_stage
from components.SYSTEM.architecture import Architecture


class Train(Trained):
    """Supervised training. Not `enabled`, the checkpoint of `architecture.init_from` is used as it is."""


def train(
    params: Train,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    tokenizer: Path,
    model: Path,
    train_curve: Path,
) -> None:
    """Write the model's folder (weights, tokenizer, image processor) and its loss curve (CSV)."""
    require_something(context, params, architecture.init_from)
    learnt = train_stage(context, params, partial(captioning, params, architecture, cleaned, tokenizer), train_curve)
    captioner = start(architecture, tokenizer, params.training.seed)
    learnt.load(captioner.network)
    captioner.save(model)


def captioning(params: Train, architecture: Architecture, cleaned: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.captioned.captioning import Captioning
    from components.engines.captioned.dataset import CaptionedImages

    captioner = start(architecture, tokenizer, params.training.seed)
    train, valid = (CaptionedImages(cleaned, split) for split in ("train", "valid"))
    return Captioning(captioner, train, valid, max_tokens=architecture.max_tokens)


def start(architecture: Architecture, tokenizer: Path, seed: int) -> Any:
    """The captioner, random from `seed` or as `init_from` has it."""
    from components.engines.base.seeds import seed_everything
    from components.engines.generation.captioner import ImageCaptioner
    from components.engines.nn.checkpoints import load_tokenizer
    from components.SYSTEM.networks.captioner import build

    if architecture.init_from:
        return ImageCaptioner.load(architecture.init_from)
    seed_everything(seed, "network")
    return build(architecture, load_tokenizer(tokenizer))


if __name__ == "__main__":
    stage.main(train)
