"""Training of the upscaler that generated pictures go through last."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.params import Params, Positive
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.training.params import Training
from components.text_to_image.architecture import Architecture


class SuperResolution(Params):
    """A Swin2SR of this shape, or the checkpoint at `init_from`, which is used as it is. Not `enabled`, nothing is learnt and
    pictures are enlarged bicubically (where the data hold none that are large enough to learn from).

    `crop_px` and `max_blur_px`: see upscaling.Upscaling. Pictures are stored at `image_px` times `factor`, or larger.
    """

    enabled: bool = True
    init_from: str | None = None
    factor: Annotated[int, Field(ge=2, le=4)] = 2
    width: Positive = 24
    depths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (2,)
    heads: Positive = 2
    window: Positive = 8
    crop_px: Positive = 16
    max_blur_px: Annotated[float, Field(ge=0)] = 0.5
    training: Training

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        if self.crop_px % self.window:
            raise ValueError(f"crop_px {self.crop_px} is not divisible by the window of {self.window}")
        return self


def super_resolution(
    params: SuperResolution,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    checked: Path,
    super_resolution: Path,
    super_resolution_curve: Path,
) -> None:
    """Write the upscaler's folder (safetensors) and its loss curve (CSV)."""
    from components.engines.captioned.validate import require_passed
    from components.engines.tracking.runs import stage_run
    from components.engines.training.curve import write_curve
    from components.engines.training.launch import launch
    from components.engines.training.weights import load_module
    from components.text_to_image.upscaler import SETTINGS, Upscaler

    require_passed(checked)
    curve: list[dict[str, Any]] = []
    if params.init_from:
        upscaler = Upscaler.load(params.init_from)
    elif not params.enabled:
        upscaler = start(params, architecture.image_px)
    else:
        make_task = partial(upscaling, params, architecture.image_px, cleaned)
        with stage_run(context, params.model_dump()) as run:
            fit = launch(make_task, params.training, work=context.work, observer_factory=run.observer)
            run.log_metrics(fit.scores)
        upscaler, curve = start(params, architecture.image_px), fit.curve
        load_module(upscaler.network, fit.weights / "upscaler.safetensors")
    upscaler.network.save_pretrained(super_resolution, safe_serialization=True)
    write_json(super_resolution / SETTINGS, {"factor": upscaler.factor, "residual": upscaler.residual})
    write_curve(super_resolution_curve, curve)


def upscaling(params: SuperResolution, image_px: int, cleaned: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments). Raises UsageError if stored pictures are too small."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.text_to_image.upscaling import Upscaling

    train, valid = CaptionedImages(cleaned, "train"), CaptionedImages(cleaned, "valid")
    largest = max(min(one.told["width"], one.told["height"]) for one in valid)
    if largest < params.factor * image_px:
        raise UsageError(
            f"Nothing to learn enlarging from: no stored picture is {params.factor} × {image_px} pixels (at most {largest})",
            where=str(cleaned),
            do="raise store_px of the stage clean, ingest larger pictures, or set super_resolution.enabled to false",
        )
    return Upscaling(
        start(params, image_px),
        train,
        valid,
        image_px=image_px,
        crop_px=min(params.crop_px, image_px),
        max_blur_px=params.max_blur_px,
        seed=params.training.seed,
    )


def start(params: SuperResolution, image_px: int) -> Any:
    """An upscaler that starts as plain bicubic enlargement: what its last layer adds is nothing yet."""
    from torch import nn
    from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

    from components.engines.base.seeds import seed_everything
    from components.text_to_image.upscaler import Upscaler

    seed_everything(params.training.seed, "upscaler")
    config = Swin2SRConfig(
        image_size=image_px,
        patch_size=1,
        embed_dim=params.width,
        depths=list(params.depths),
        num_heads=[params.heads] * len(params.depths),
        window_size=params.window,
        mlp_ratio=2.0,
        upscale=params.factor,
        img_range=1.0,
        upsampler="pixelshuffledirect",
    )
    network = Swin2SRForImageSuperResolution(config)
    last = [module for module in network.upsample.modules() if isinstance(module, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return Upscaler(network, residual=True)


if __name__ == "__main__":
    stage.main(super_resolution)
