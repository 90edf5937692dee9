"""The frozen text encoder: CLIP's text tower, T5's encoder, or the checkpoint's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.training.stage import Learnt, Trained, train_stage
from components.text_to_image.architecture import Architecture


class TrainTextEncoder(Trained):
    """How a T5 from scratch is trained; all others are used as they are.

    `mask_fraction` of a caption's tokens are left out, in spans of `mean_span` tokens on average.
    """

    mask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    mean_span: Annotated[float, Field(ge=1)] = 2.0


def train_text_encoder(
    params: TrainTextEncoder,
    architecture: Architecture,
    context: StageContext,
    model: Path,
    curated: Path,
    text_encoder: Path,
    text_encoder_curve: Path,
) -> None:
    """Write `text_encoder/` and `tokenizer/` in one folder, and the loss curve (CSV; a lone header where nothing was trained).

    `model` is the folder of the clip room: its text tower is used, or its tokenizer for a T5 from scratch.
    """
    from components.engines.diffusion.conditioning import Conditioner
    from components.engines.diffusion.text_encoders import of_clip, of_t5

    shape = architecture.text
    from_scratch = architecture.init_from is None and shape.encoder == "t5" and shape.init_from is None
    make_task = partial(span_corruption, params, architecture, model, curated)
    learnt = train_stage(context, params, make_task, text_encoder_curve, needed=from_scratch)
    if from_scratch:
        conditioner = of_scratch(make_task(), learnt, shape.max_tokens)
    elif architecture.init_from:
        conditioner = Conditioner.load(architecture.init_from, shape.max_tokens)
    elif shape.encoder == "clip":
        conditioner = of_clip(shape.init_from or model, shape.max_tokens)
    else:
        conditioner = of_t5(str(shape.init_from), shape.max_tokens)
    conditioner.save(text_encoder)


def of_scratch(task: Any, learnt: Learnt, max_tokens: int) -> Any:
    """The encoder of a T5 as the training left it."""
    from components.engines.diffusion.conditioning import Conditioner
    from components.engines.language.spans import encoder_of

    learnt.load(task.t5, "t5")
    return Conditioner(encoder_of(task.t5), task.tokenizer, max_tokens)


def span_corruption(params: TrainTextEncoder, architecture: Architecture, model: Path, curated: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.base.seeds import seed_everything
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.language.spans import SpanCorruption, build_t5, num_sentinels, sentinel
    from components.engines.scoring.embedder import load_tokenizer

    tokenizer, shape = load_tokenizer(model), architecture.text
    tokenizer.add_tokens([sentinel(number) for number in range(num_sentinels(shape.max_tokens))], special_tokens=True)
    seed_everything(params.training.seed, "t5")
    return SpanCorruption(
        build_t5(tokenizer, width=shape.t5_width, layers=shape.t5_layers, heads=shape.t5_heads),
        tokenizer,
        CaptionedImages(curated, "train"),
        CaptionedImages(curated, "valid"),
        max_tokens=shape.max_tokens,
        fraction=params.mask_fraction,
        mean_span=params.mean_span,
        seed=params.training.seed,
    )


if __name__ == "__main__":
    stage.main(train_text_encoder)
