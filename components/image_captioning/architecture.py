"""The shape of image encoder and text decoder: the one params section that several stages of this room share."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from components.engines.base.params import Params, Positive

GRID_STRIDES = (4, 8, 16, 32)  # of a ResNet with one, two, three or four stages


class Architecture(Params):
    """Image encoder and text decoder. With `init_from` (a hub id or a folder of a BlipForConditionalGeneration, or one that this
    room trained) everything but `max_tokens` is taken from there.

    `family` is the encoder: `cnn` a ResNet whose grid is read as a sequence, `blip` a ViT. A feature stands for `patch_px` x
    `patch_px` pixels: a ViT's patch, or a ResNet's stride, 4 with one stage and twice that with each further one.
    `encoder_layers` are a ViT's, or the blocks of each of a ResNet's stages.
    """

    init_from: str | None = None
    family: Literal["cnn", "blip"] = "cnn"
    positions: Literal["1d-learned", "1d-fixed", "2d-learned", "2d-fixed"] = "2d-fixed"
    image_px: Positive = 32
    patch_px: Positive = 8
    encoder_width: Positive = 96
    encoder_layers: Positive = 1
    text_width: Positive = 96
    text_layers: Positive = 2
    attention_heads: Positive = 4
    max_tokens: Positive = 32

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.image_px % self.patch_px:
            raise ValueError(f"image_px {self.image_px} is not divisible by patch_px {self.patch_px}")
        if self.family == "cnn" and self.patch_px not in GRID_STRIDES:
            raise ValueError(f"patch_px must be one of {', '.join(map(str, GRID_STRIDES))} for a CNN")
        for name in ("encoder_width", "text_width"):
            if getattr(self, name) % self.attention_heads:
                raise ValueError(
                    f"{name} {getattr(self, name)} is not divisible by attention_heads {self.attention_heads}"
                )
        return self

    @property
    def side(self) -> int:
        """Features along a side of the image."""
        return self.image_px // self.patch_px
