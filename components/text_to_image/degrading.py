"""Pictures made a little worse, as generated ones are: blur and noise of random strength (after arXiv:2107.10833)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_RADIUS = 2  # of the blur's kernel, in pixels


def degraded(images: Tensor, max_blur_px: float, max_noise: float, generator: torch.Generator) -> Tensor:
    """[batch, 3, height, width] in [0, 1] -> the same, each image blurred (Gaussian, standard deviation up to `max_blur_px`)
    and with noise (standard deviation up to `max_noise`, of 1)."""
    blur, noise = torch.rand((2, len(images), 1), generator=generator)
    sigma = (max_blur_px * blur).clamp(min=1e-3)  # [batch, 1]
    offsets = torch.arange(-_RADIUS, _RADIUS + 1)
    line = functional.softmax(-((offsets / sigma) ** 2) / 2, dim=-1)  # [batch, 5], sums to 1
    kernels = line[:, :, None] * line[:, None, :]  # [batch, 5, 5]
    batch, channels, height, width = images.shape
    padded = functional.pad(images, (_RADIUS,) * 4, mode="replicate")
    # every image has a kernel of its own: one group a channel
    blurred = functional.conv2d(
        padded.reshape(1, batch * channels, height + 2 * _RADIUS, width + 2 * _RADIUS),
        kernels.repeat_interleave(channels, 0)[:, None],
        groups=batch * channels,
    ).reshape(images.shape)
    grain = torch.randn(images.shape, generator=generator) * (max_noise * noise)[:, :, None, None]
    return (blurred + grain).clamp(0, 1)
