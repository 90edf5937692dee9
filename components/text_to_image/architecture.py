"""The shape of all networks: the one params section that several stages of this room share."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from components.engines.base.params import Positive
from components.engines.diffusion.denoiser import DenoiserShapes
from components.engines.diffusion.text_encoder_stage import TextShape
from components.engines.latents.autoencoder import AutoencoderShape


class Architecture(DenoiserShapes):
    """Autoencoder, text encoder and denoiser. With `init_from` (a hub id or folder in the layout of Stable Diffusion for `unet`,
    of PixArt for `dit`) all shapes, the noise and the tokenizer are taken from there, and so are the weights."""

    init_from: str | None = None
    image_px: Positive = 32
    autoencoder: AutoencoderShape = AutoencoderShape()
    text: TextShape = TextShape()

    @property
    def latent_px(self) -> int:
        return self.image_px // 2 ** (len(self.autoencoder.widths) - 1)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.init_from:
            return self
        finest = 2 ** (len(self.autoencoder.widths) - 1)
        finest *= self.dit.patch if self.network == "dit" else 2 ** (len(self.unet.widths) - 1)
        if self.image_px % finest:
            raise ValueError(f"image_px {self.image_px} is not divisible by {finest}, what the networks divide it by")
        self._divisible("autoencoder.widths", self.autoencoder.widths, self.autoencoder.norm_groups)
        self._divisible("dit.width", [self.dit.width], self.dit.heads)
        self._divisible("unet.widths", self.unet.widths, self.unet.norm_groups)
        self._divisible("unet.widths", self.unet.widths, self.unet.head_width)
        return self

    @staticmethod
    def _divisible(name: str, widths: tuple[int, ...] | list[int], by: int) -> None:
        odd = [width for width in widths if width % by]
        if odd:
            raise ValueError(f"{name} {odd[0]} is not divisible by {by} (its heads, or groups of its norms)")
