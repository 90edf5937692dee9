"""Latents of mean 0 and variance 1 in every channel: what noise of variance 1 is mixed with.

The channels' means and deviations go into the 1 x 1 convolutions on both sides of the latents, which changes no picture by more
than rounding. Pipelines of diffusers for Stable Diffusion and PixArt know one factor and no shift: these two stay 1 and 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engines.base.errors import StageError
from components.engines.images.pixels import to_pixels
from components.engines.nn.device import own_device

_BATCH = 64


def standardise(autoencoder: Any, images: Any, image_px: int, count: int) -> None:
    """Change the autoencoder in place, by the latents of `count` pictures evenly spread over `images`."""
    import torch

    mean, deviation = latent_statistics(autoencoder.to(own_device()), images, image_px, count)
    autoencoder.to("cpu")  # where it is changed and written
    if not bool((deviation > 0).all()):
        raise StageError(
            "A channel of the latents is constant: the autoencoder has collapsed",
            do="train it longer, or lower kl_weight of train_autoencoder",
        )
    channels = len(mean)
    with torch.no_grad():
        before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
        before.weight[:channels] /= deviation[:, None, None, None]  # rows: mean of the posterior, then its log-variance
        before.bias[:channels] = (before.bias[:channels] - mean) / deviation
        before.bias[channels:] -= 2 * deviation.log()
        after.bias += (after.weight[:, :, 0, 0] * mean).sum(1)
        after.weight *= deviation[None, :, None, None]
    autoencoder.register_to_config(scaling_factor=1.0, shift_factor=0.0)


def latent_statistics(autoencoder: Any, images: Any, image_px: int, count: int) -> tuple[Any, Any]:
    """Mean and standard deviation of each channel [channels]."""
    import torch

    chosen = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)).tolist()
    sums: Any = 0
    squares: Any = 0
    values = 0
    device = next(autoencoder.parameters()).device
    autoencoder.eval()
    with torch.no_grad():
        for start in range(0, len(chosen), _BATCH):
            pictures = [images[index].open() for index in chosen[start : start + _BATCH]]
            latents = autoencoder.encode(to_pixels(pictures, image_px).to(device)).latent_dist.mode().double().cpu()
            sums, squares = sums + latents.sum((0, 2, 3)), squares + latents.square().sum((0, 2, 3))
            values += latents[:, 0].numel()
    mean = sums / values
    return mean.float(), (squares / values - mean.square()).clamp(min=0).sqrt().float()
