"""The autoencoder's task: give pictures back from few numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.captioned.dataset import CaptionedImages
from components.engines.images.pixels import to_pixels
from components.engines.training.task import Batch, Task, Turn

VALID_BATCH = 64


class Reconstruction(Task):
    """Squared error of the pixels, and a little KL divergence that keeps latents near a unit Gaussian.

    Batches: `pixels` [n, 3, px, px] in [-1, 1], `noise` [n, channels, side, side] for the draw from the posterior.
    """

    def __init__(
        self,
        autoencoder: Any,
        train: CaptionedImages,
        valid: CaptionedImages,
        *,
        image_px: int,
        kl_weight: float,
        seed: int,
    ) -> None:
        self.autoencoder, self.train, self.valid = autoencoder, train, valid
        self.image_px, self.kl_weight, self.seed = image_px, kl_weight, seed
        self.modules = {"autoencoder": autoencoder}
        self.num_samples = len(train)
        side = image_px // 2 ** (len(autoencoder.config.block_out_channels) - 1)
        self.latent_shape = (autoencoder.config.latent_channels, side, side)
        self.turns = [Turn("autoencoder", self.loss, list(autoencoder.parameters()), weight=num_values)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        pictures = [self.train[index].open() for index in indices.tolist()]
        noise = [
            np.random.default_rng(derive(self.seed, "posterior", epoch, index)).standard_normal(
                self.latent_shape, dtype=np.float32
            )
            for index in indices.tolist()
        ]
        return {"pixels": to_pixels(pictures, self.image_px), "noise": torch.from_numpy(np.stack(noise))}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed over pixel values; the KL divergence, a mean over latent values, has `kl_weight` of a pixel value's error."""
        pixels = batch["pixels"]
        posterior = self.autoencoder.encode(pixels).latent_dist
        latents = posterior.mean + posterior.std * batch["noise"]
        error = functional.mse_loss(self.autoencoder.decode(latents).sample.float(), pixels, reduction="sum")
        divergence = posterior.kl().float().sum() / latents[0].numel() * pixels[0].numel()
        return error + self.kl_weight * divergence, {"mse": error.detach(), "kl": divergence.detach()}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Error and PSNR (dB, of the mean error over all pictures) of the validation split from the posterior's mean."""
        device = next(self.autoencoder.parameters()).device
        total = count = 0.0
        for start in range(0, len(self.valid), VALID_BATCH):
            pictures = [one.open() for one in self.valid[start : start + VALID_BATCH]]
            pixels = to_pixels(pictures, self.image_px).to(device)
            again = self.autoencoder.decode(self.autoencoder.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
            total, count = (
                total + functional.mse_loss(again.float(), pixels, reduction="sum").item(),
                count + pixels.numel(),
            )
        return {"valid_mse": total / count, "valid_psnr": psnr(total / count)}


def num_values(batch: Batch) -> int:
    return batch["pixels"].numel()


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio, dB, of values in [-1, 1]."""
    return 10 * math.log10(4 / max(mse, 1e-12))
