"""The stage that writes a frozen text encoder: one that exists, or a T5 trained on the captions that it will read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage

_LOOKED_AT = 10_000  # captions whose length is checked: enough to tell of a limit that is too low


class TextShape(Params):
    """The text encoder.

    With `init_from` (a hub id or folder) the text tower of that CLIPModel or the encoder of that T5 or UMT5. Else `clip`: the
    text tower of the clip room. `t5`: an encoder of this shape, trained from scratch by filling in spans of the captions.
    """

    encoder: Literal["clip", "t5"] = "clip"
    init_from: str | None = None
    max_tokens: Annotated[Positive, Field(description="longer captions and prompts are cut, with a warning")] = 32
    t5_width: Positive = 96
    t5_layers: Positive = 3
    t5_heads: Positive = 4

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.t5_width % self.t5_heads:
            raise ValueError(f"t5_width {self.t5_width} is not divisible by {self.t5_heads} (its heads)")
        return self


class TrainTextEncoder(Trained):
    """How a T5 from scratch is trained; all others are used as they are.

    `mask_fraction` of a caption's tokens are left out, in spans of `mean_span` tokens on average. `target`: what is written then,
    the `spans` alone or the whole `text`; where the order of words matters, the text.
    """

    mask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    mean_span: Annotated[float, Field(ge=1)] = 2.0
    target: Literal["spans", "text"] = "spans"


def write_text_encoder(
    context: StageContext,
    params: TrainTextEncoder,
    shape: TextShape,
    *,
    checkpoint: str | None,
    clip: Path,
    tokenizer: Callable[[], Any],
    captioned: Callable[[str], Any],
    folder: Path,
    curve: Path,
) -> None:
    """Write `text_encoder/` and `tokenizer/` in one folder, and the loss curve (CSV; a lone header where nothing was trained).

    `checkpoint` holds a whole pipeline, whose encoder is taken; `clip` is the clip room's model. For a T5 from scratch
    `tokenizer` makes the tokenizer and `captioned` gives a split's samples, anything with a `caption`; it travels to workers.
    """
    from components.engines.diffusion.conditioning import Conditioner
    from components.engines.diffusion.text_encoders import of_checkpoint, of_clip
    from components.engines.language.spans import encoder_of, num_sentinels, sentinel

    from_scratch = checkpoint is None and shape.encoder == "t5" and shape.init_from is None
    if from_scratch:
        cutter = tokenizer()
        cutter.add_tokens([sentinel(number) for number in range(num_sentinels(shape.max_tokens))], special_tokens=True)
        cutter.save_pretrained(folder / "tokenizer")
    make_task = partial(span_corruption, params, shape, folder / "tokenizer", captioned)
    learnt = train_stage(context, params, make_task, curve, needed=from_scratch)
    if from_scratch:
        task = make_task()
        learnt.load(task.t5, "t5")
        conditioner = Conditioner(encoder_of(task.t5), task.tokenizer, shape.max_tokens)
    elif checkpoint:
        conditioner = Conditioner.load(checkpoint, shape.max_tokens)
    elif shape.init_from:
        conditioner = of_checkpoint(shape.init_from, shape.max_tokens)
    else:
        conditioner = of_clip(clip, shape.max_tokens)
    conditioner.warn_of_cut([one.caption for one in islice(captioned("train"), _LOOKED_AT)], "captions")
    conditioner.save(folder)


def span_corruption(
    params: TrainTextEncoder, shape: TextShape, tokenizer: Path, captioned: Callable[[str], Any]
) -> Any:
    """Build the task (also inside a Ray worker, so from what can be pickled)."""
    from components.engines.base.seeds import seed_everything
    from components.engines.language.spans import SpanCorruption, build_t5
    from components.engines.nn.checkpoints import load_tokenizer

    cutter = load_tokenizer(tokenizer)
    seed_everything(params.training.seed, "t5")
    return SpanCorruption(
        build_t5(cutter, width=shape.t5_width, layers=shape.t5_layers, heads=shape.t5_heads),
        cutter,
        captioned("train"),
        captioned("valid"),
        max_tokens=shape.max_tokens,
        fraction=params.mask_fraction,
        mean_span=params.mean_span,
        target=params.target,
        seed=params.training.seed,
    )
