"""Supervised training on captioned images, from scratch or from a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.params import Params
from components.engines.base.stage import StageContext
from components.engines.training.params import Training
from components.image_captioning.architecture import Architecture


class Train(Params):
    """Supervised training. Not `enabled`, the checkpoint of `architecture.init_from` is used as it is."""

    enabled: bool = True
    training: Training


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
    from components.engines.nn.positions import bake_positions
    from components.engines.tracking.runs import stage_run
    from components.engines.training.curve import write_curve
    from components.engines.training.launch import launch
    from components.engines.training.weights import load_module

    if not params.enabled:
        if architecture.init_from is None:
            raise UsageError(
                "Nothing to use: image_captioning.train.enabled is false and image_captioning.architecture.init_from is null",
                where="params.yaml",
                do="name a checkpoint there, or train",
            )
        start(architecture, tokenizer, params.training.seed).save(model)
        write_curve(train_curve, [])
        return
    make_task = partial(captioning, params, architecture, cleaned, tokenizer)
    with stage_run(context, params.training.model_dump()) as run:
        fit = launch(make_task, params.training, work=context.work, observer_factory=run.observer)
        run.log_metrics(fit.scores)
    captioner = start(architecture, tokenizer, params.training.seed)
    load_module(captioner.network, fit.weights / "model.safetensors")
    bake_positions(captioner.network)
    captioner.save(model)
    write_curve(train_curve, fit.curve)


def captioning(params: Train, architecture: Architecture, cleaned: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.image_captioning.captioning import Captioning

    captioner = start(architecture, tokenizer, params.training.seed)
    train, valid = (CaptionedImages(cleaned, split) for split in ("train", "valid"))
    return Captioning(captioner, train, valid, max_tokens=architecture.max_tokens)


def start(architecture: Architecture, tokenizer: Path, seed: int) -> Any:
    """The captioner, random from `seed` or as `init_from` has it."""
    from components.engines.base.seeds import seed_everything
    from components.engines.generation.captioner import ImageCaptioner
    from components.engines.nn.checkpoints import load_tokenizer
    from components.image_captioning import model as networks

    if architecture.init_from:
        return ImageCaptioner.load(architecture.init_from)
    text = load_tokenizer(tokenizer)
    seed_everything(seed, "network")
    return ImageCaptioner(networks.build(architecture, text), text, networks.build_processor(architecture))


if __name__ == "__main__":
    stage.main(train)
