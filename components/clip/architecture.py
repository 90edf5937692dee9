"""The shape of the two encoders: the one params section that several stages of this room share."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from components.engines.base.params import Params, Positive


class Architecture(Params):
    """Image encoder (ViT), text encoder, and the space both are projected to. With `init_from` (a hub id or a folder of a
    CLIPModel) everything but `max_tokens` is taken from there."""

    init_from: str | None = None
    image_px: Positive = 32
    patch_px: Positive = 8
    vision_width: Positive = 96
    vision_layers: Positive = 3
    text_width: Positive = 64
    text_layers: Positive = 2
    attention_heads: Positive = 4
    embedding_dim: Positive = 64
    max_tokens: Positive = 32

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.image_px % self.patch_px:
            raise ValueError(f"image_px {self.image_px} is not divisible by patch_px {self.patch_px}")
        for name in ("vision_width", "text_width"):
            if getattr(self, name) % self.attention_heads:
                raise ValueError(
                    f"{name} {getattr(self, name)} is not divisible by attention_heads {self.attention_heads}"
                )
        return self
