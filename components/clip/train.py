"""Contrastive training of the two encoders."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from components.clip.architecture import Architecture
from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, require_something, train_stage


class Train(Trained):
    """Contrastive training: `training.batch_size` is also how many captions compete for an image, over all workers.

    Not `enabled`, the checkpoint of `architecture.init_from` is used as it is.
    """

    @model_validator(mode="after")
    def _batch_stays_whole(self) -> Self:
        if self.training.accumulation_steps > 1:
            raise ValueError(
                "accumulation_steps must be 1: captions of other micro-batches could not compete. Use more workers, or "
                "training.gradient_checkpointing to save memory"
            )
        layout = self.training.layout
        if layout.tensor > 1 or layout.pipeline > 1 or (layout.sharded > 1 and layout.zero_stage > 1):
            raise ValueError(
                "layout may be data, or sharded with zero_stage 1: tensor and pipeline ranks see the same pairs, and FSDP2 "
                "cannot shard CLIP's temperature, which is a scalar"
            )
        return self


def train(
    params: Train,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    tokenizer: Path,
    model: Path,
    recipe: Path,
    train_curve: Path,
) -> None:
    """Write the model's folder (weights, tokenizer, image processor), how it was made (see captioned/folds.py), and its loss
    curve (CSV)."""
    from components.engines.captioned.folds import write_recipe

    write_recipe(recipe, architecture.init_from, architecture.max_tokens, params.training if params.enabled else None)
    require_something(context, params, architecture.init_from)
    learnt = train_stage(context, params, partial(contrastive, params, architecture, cleaned, tokenizer), train_curve)
    embedder = start(architecture, tokenizer, params.training.seed)
    learnt.load(embedder.network)
    embedder.save(model)


def contrastive(params: Train, architecture: Architecture, cleaned: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.captioned.contrastive import Contrastive
    from components.engines.captioned.dataset import CaptionedImages

    embedder = start(architecture, tokenizer, params.training.seed)
    return Contrastive(embedder, CaptionedImages(cleaned, "train"), CaptionedImages(cleaned, "valid"))


def start(architecture: Architecture, tokenizer: Path, seed: int) -> Any:
    """Both encoders, random from `seed` or as `init_from` has them."""
    from components.clip.networks import towers as networks
    from components.engines.base.seeds import seed_everything
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.scoring.embedder import Embedder, load_clip, load_clip_processor

    text = load_tokenizer(tokenizer)
    seed_everything(seed, "network")
    if architecture.init_from:
        network, processor = load_clip(architecture.init_from, text), load_clip_processor(architecture.init_from)
    else:
        network, processor = networks.build(architecture, text), networks.build_processor(architecture)
    return Embedder(network, text, processor, architecture.max_tokens)


if __name__ == "__main__":
    stage.main(train)
