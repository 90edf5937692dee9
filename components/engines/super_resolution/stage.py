"""The stage that trains an upscaler: its params, what it starts from, what it writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from components.engines.base.errors import UsageError
from components.engines.base.params import Positive
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.super_resolution.upscaler import SETTINGS, Upscaler
from components.engines.training.stage import Trained, train_stage


class UpscalerTraining(Trained):
    """A Swin2SR of this shape, or the checkpoint at `init_from`, which is used as it is. Not `enabled`, nothing is learnt and
    pictures are enlarged bicubically (where the data hold none that are large enough to learn from).

    `crop_px` and `max_blur_px`: see task.Upscaling. Pictures are stored at the generated size times `factor`, or larger.
    """

    init_from: str | None = None
    factor: Annotated[int, Field(ge=2, le=4)] = 2
    width: Positive = 24
    depths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (2,)
    heads: Positive = 2
    window: Positive = 8
    crop_px: Positive = 16
    max_blur_px: Annotated[float, Field(ge=0)] = 0.5

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        if self.crop_px % self.window:
            raise ValueError(f"crop_px {self.crop_px} is not divisible by the window of {self.window}")
        return self


def train_upscaler_stage(
    context: StageContext,
    params: UpscalerTraining,
    image_px: int,
    make_task: Callable[[], Any],
    folder: Path,
    curve: Path,
) -> None:
    """Write the upscaler's folder (safetensors) and its loss curve (CSV)."""
    learnt = train_stage(context, params, make_task, curve, needed=params.init_from is None)
    upscaler = Upscaler.load(params.init_from) if params.init_from else fresh_upscaler(params, image_px)
    learnt.load(upscaler.network, "upscaler")
    upscaler.network.save_pretrained(folder, safe_serialization=True)
    write_json(folder / SETTINGS, {"factor": upscaler.factor, "residual": upscaler.residual})


def upscaling_task(
    params: UpscalerTraining, image_px: int, train: Any, valid: Any, sizes: Sequence[int], where: str
) -> Any:
    """Upscaling on `train`; `sizes` are the smaller sides of what is stored. Raises UsageError if all of them are too small."""
    from components.engines.super_resolution.task import Upscaling

    if max(sizes) < params.factor * image_px:
        raise UsageError(
            f"Nothing to learn enlarging from: no stored picture is {params.factor} × {image_px} pixels (at most {max(sizes)})",
            where=where,
            do="raise clean.store_px (of the longer side), ingest larger pictures, or set train_upscaler.enabled to false",
        )
    return Upscaling(
        fresh_upscaler(params, image_px),
        train,
        valid,
        image_px=image_px,
        crop_px=min(params.crop_px, image_px),
        max_blur_px=params.max_blur_px,
        seed=params.training.seed,
    )


def fresh_upscaler(params: UpscalerTraining, image_px: int) -> Upscaler:
    """An upscaler that starts as plain bicubic enlargement: what its last layer adds is nothing yet."""
    from torch import nn
    from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

    from components.engines.base.seeds import seed_everything

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
