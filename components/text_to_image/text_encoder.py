"""The frozen text encoder: CLIP's text tower, T5's encoder, or the checkpoint's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.params import Params
from components.engines.base.stage import StageContext
from components.engines.training.params import Training
from components.text_to_image.architecture import Architecture


class TextEncoder(Params):
    """How a T5 from scratch is trained; all others are used as they are.

    `mask_fraction` of a caption's tokens are left out, in spans of `mean_span` tokens on average.
    """

    mask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    mean_span: Annotated[float, Field(ge=1)] = 2.0
    training: Training


def text_encoder(
    params: TextEncoder,
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
    from components.engines.training.curve import write_curve
    from components.text_to_image.conditioning import Conditioner

    shape = architecture.text
    curve: list[dict[str, Any]] = []
    if architecture.init_from:
        conditioner = Conditioner.load(architecture.init_from, shape.max_tokens)
    elif shape.encoder == "clip":
        conditioner = of_clip(shape.init_from or model, shape.max_tokens)
    elif shape.init_from:
        conditioner = of_t5(shape.init_from, shape.max_tokens)
    else:
        conditioner, curve = trained(params, architecture, context, model, curated)
    conditioner.save(text_encoder)
    write_curve(text_encoder_curve, curve)


def of_clip(source: str | Path, max_tokens: int) -> Any:
    """The text tower of a CLIPModel."""
    from components.engines.scoring.embedder import Embedder
    from components.text_to_image.conditioning import Conditioner

    embedder = Embedder.load(source)
    return Conditioner(embedder.network.text_model, embedder.tokenizer, max_tokens)


def of_t5(source: str, max_tokens: int) -> Any:
    """The encoder of a T5 on the hub or in a folder."""
    from transformers import T5EncoderModel

    from components.engines.scoring.embedder import load_tokenizer
    from components.text_to_image.conditioning import Conditioner

    try:
        network = T5EncoderModel.from_pretrained(source, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a T5: {str(error).strip().splitlines()[0]}",
            where=source,
            do="give a hub id or a folder with config.json and model.safetensors of a T5",
        ) from None
    return Conditioner(network, load_tokenizer(source), max_tokens)


def trained(
    params: TextEncoder, architecture: Architecture, context: StageContext, model: Path, curated: Path
) -> tuple[Any, list[dict[str, Any]]]:
    """A T5 from scratch, and its loss curve."""
    from components.engines.tracking.runs import stage_run
    from components.engines.training.launch import launch
    from components.engines.training.weights import load_module
    from components.text_to_image.conditioning import Conditioner
    from components.text_to_image.spans import encoder_of

    make_task = partial(span_corruption, params, architecture, model, curated)
    with stage_run(context, params.training.model_dump()) as run:
        fit = launch(make_task, params.training, work=context.work, observer_factory=run.observer)
        run.log_metrics(fit.scores)
    task = make_task()
    load_module(task.t5, fit.weights / "t5.safetensors")
    return Conditioner(encoder_of(task.t5), task.tokenizer, architecture.text.max_tokens), fit.curve


def span_corruption(params: TextEncoder, architecture: Architecture, model: Path, curated: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.base.seeds import seed_everything
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.scoring.embedder import load_tokenizer
    from components.text_to_image.spans import SpanCorruption, build_t5, num_sentinels, sentinel

    tokenizer, shape = load_tokenizer(model), architecture.text
    tokenizer.add_tokens([sentinel(number) for number in range(num_sentinels(shape.max_tokens))], special_tokens=True)
    seed_everything(params.training.seed, "t5")
    return SpanCorruption(
        build_t5(shape, tokenizer),
        tokenizer,
        CaptionedImages(curated, "train"),
        CaptionedImages(curated, "valid"),
        max_tokens=shape.max_tokens,
        fraction=params.mask_fraction,
        mean_span=params.mean_span,
        seed=params.training.seed,
    )


if __name__ == "__main__":
    stage.main(text_encoder)
