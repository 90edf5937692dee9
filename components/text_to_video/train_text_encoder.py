"""The frozen text encoder: a T5 that learns from the captions, CLIP's text tower, or the checkpoint's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.diffusion.text_encoder_stage import TrainTextEncoder as Shared
from components.engines.diffusion.text_encoder_stage import write_text_encoder
from components.engines.language.bpe import Vocabulary
from components.text_to_video.architecture import Architecture


class CaptionVocabulary(Vocabulary):
    """Captions of motion have few words."""

    vocab_size: Annotated[int, Field(ge=300)] = 400


class TrainTextEncoder(Shared):
    """How a T5 from scratch, and its vocabulary, are trained."""

    vocabulary: CaptionVocabulary = CaptionVocabulary()


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

    `model` is that of the clip room, which has read of no motion: its tokenizer cuts "slowly" into letters, so a T5 from scratch
    has one of its own.
    """
    write_text_encoder(
        context,
        params,
        architecture.text,
        checkpoint=architecture.init_from,
        clip=model,
        tokenizer=partial(own_tokenizer, curated, params.vocabulary),
        captioned=partial(clips, curated),
        folder=text_encoder,
        curve=text_encoder_curve,
    )


def own_tokenizer(curated: Path, vocabulary: Vocabulary) -> Any:
    from components.engines.captioned.tokenizer import learn_captions

    return learn_captions((one.caption for one in clips(curated, "train")), vocabulary)


def clips(curated: Path, split: str) -> Any:
    from components.engines.videos.dataset import Videos

    return Videos(curated, split)


if __name__ == "__main__":
    stage.main(train_text_encoder)
