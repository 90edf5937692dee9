"""Pictures made a little worse, as generated ones are: blur and noise of random strength (after arXiv 2107.10833)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_RADIUS = 2  # of the blur's kernel, in pixels


def degraded(
    images: Tensor, rngs: Sequence[np.random.Generator], *, max_blur_px: float, max_noise: float = 0.0
) -> Tensor:
    """[batch, 3, height, width] in [0, 1] -> the same, each image by draws of its own.

    Half of them are blurred (Gaussian, standard deviation up to `max_blur_px`); all get noise (up to `max_noise`, of 1).
    """
    strengths = np.stack([rng.random(2, dtype=np.float32) for rng in rngs])
    blur, noise = torch.from_numpy(strengths)[:, :, None].unbind(1)  # [batch, 1] each
    grain = torch.from_numpy(np.stack([rng.standard_normal(images.shape[1:], dtype=np.float32) for rng in rngs]))
    worse = blurred(images, max_blur_px * (2 * blur - 1).clamp(min=0))
    return (worse + max_noise * noise[:, :, None, None] * grain).clamp(0, 1)


def blurred(images: Tensor, sigma_px: Tensor) -> Tensor:
    """[batch, 3, height, width] by Gaussians of standard deviation `sigma_px` [batch, 1]; 0 leaves an image as it is."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1)
    line = functional.softmax(-((offsets / sigma_px.clamp(min=1e-3)) ** 2) / 2, dim=-1)  # [batch, 5], sums to 1
    kernels = line[:, :, None] * line[:, None, :]  # [batch, 5, 5]
    batch, channels, height, width = images.shape
    padded = functional.pad(images, (_RADIUS,) * 4, mode="replicate")
    # every image has a kernel of its own: one group a channel
    return functional.conv2d(
        padded.reshape(1, batch * channels, height + 2 * _RADIUS, width + 2 * _RADIUS),
        kernels.repeat_interleave(channels, 0)[:, None],
        groups=batch * channels,
    ).reshape(images.shape)
