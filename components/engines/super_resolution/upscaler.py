"""Pictures at twice their size: a transformer adds to the bicubic enlargement what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from components.engines.base.paths import read_json
from components.engines.nn.checkpoints import load_network

if TYPE_CHECKING:
    from torch import Tensor

SETTINGS = "upscaling.json"  # beside config.json and the weights


class Upscaler:
    """A Swin2SRForImageSuperResolution (Conde et al. 2022, arXiv 2209.11345).

    `residual`: the network gives the difference to the bicubic enlargement; published checkpoints give the picture itself.
    """

    def __init__(self, network: Any, residual: bool) -> None:
        self.network, self.residual = network, residual

    @classmethod
    def load(cls, folder: str | Path) -> Upscaler:
        """From a folder of the stage `super_resolution`, or from any checkpoint of Swin2SR (a hub id or folder)."""
        from transformers import Swin2SRForImageSuperResolution

        network = load_network(Swin2SRForImageSuperResolution, folder, "an upscaler")
        settings = Path(folder) / SETTINGS
        return cls(network.eval(), read_json(settings)["residual"] if settings.is_file() else False)

    def to(self, device: Any) -> Self:
        self.network.to(device)
        return self

    @property
    def factor(self) -> int:
        return self.network.config.upscale

    def enlarged(self, images: Tensor) -> Tensor:
        """[n, 3, h, w] -> [n, 3, factor · h, factor · w], not yet clamped; gradients flow."""
        from torch.nn import functional

        height, width = images.shape[-2:]
        window = self.network.config.window_size  # the network takes whole windows only (transformers 5.23)
        padding = (0, -width % window, 0, -height % window)
        found = self.network(pixel_values=functional.pad(images, padding, mode="replicate")).reconstruction
        found = found[..., : self.factor * height, : self.factor * width]
        if not self.residual:
            return found
        # Swin2SR adds the mean colour of its own data, which the enlargement has already
        return bicubic(images, self.factor) + found - self.network.swin2sr.mean

    def upscale(self, images: Tensor, batch_size: int = 32) -> Tensor:
        """[n, 3, h, w] in [0, 1] -> [n, 3, factor · h, factor · w] in [0, 1], on the CPU."""
        import torch

        device = next(self.network.parameters()).device
        with torch.inference_mode():
            made = [self.enlarged(piece.to(device)).clamp(0, 1).float().cpu() for piece in images.split(batch_size)]
        return torch.cat(made)


def bicubic(images: Tensor, factor: int) -> Tensor:
    """What the learnt enlargement is measured against: [n, 3, h, w] -> [n, 3, factor · h, factor · w], not clamped."""
    from torch.nn import functional

    return functional.interpolate(images, scale_factor=factor, mode="bicubic", align_corners=False)


def psnr(made: Tensor, real: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture, [n], in dB; both in [0, 1]."""
    return -10 * (made - real).square().mean((1, 2, 3)).clamp(min=1e-10).log10()
