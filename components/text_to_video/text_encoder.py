"""The frozen text encoder: CLIP's text tower, or the checkpoint's."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.text_to_video.architecture import Architecture


def text_encoder(architecture: Architecture, model: Path, curated: Path, text_encoder: Path) -> None:
    """Write `text_encoder/` and `tokenizer/` in one folder; `model` is that of the clip room, which has read of no motion: words
    of the captions that are none to it become words."""
    from components.engines.diffusion.conditioning import Conditioner
    from components.engines.diffusion.text_encoders import learn_words, of_checkpoint, of_clip
    from components.engines.videos.dataset import Videos

    shape = architecture.text
    if architecture.init_from:
        conditioner = Conditioner.load(architecture.init_from, shape.max_tokens)
    elif shape.init_from:
        conditioner = of_checkpoint(shape.init_from, shape.max_tokens)
    else:
        conditioner = of_clip(model, shape.max_tokens)
        if shape.own_words:
            learn_words(conditioner, (one.caption for one in Videos(curated, "train")), shape.own_words)
    conditioner.save(text_encoder)


if __name__ == "__main__":
    stage.main(text_encoder)
