"""The frozen text encoder: CLIP's text tower, T5's encoder, or the checkpoint's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.diffusion.text_encoder_stage import TrainTextEncoder, write_text_encoder
from components.text_to_image.architecture import Architecture


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
    from components.engines.scoring.embedder import load_tokenizer

    write_text_encoder(
        context,
        params,
        architecture.text,
        checkpoint=architecture.init_from,
        clip=model,
        tokenizer=partial(load_tokenizer, model),
        captioned=partial(pictures, curated),
        folder=text_encoder,
        curve=text_encoder_curve,
    )


def pictures(curated: Path, split: str) -> Any:
    from components.engines.captioned.dataset import CaptionedImages

    return CaptionedImages(curated, split)


if __name__ == "__main__":
    stage.main(train_text_encoder)
