"""The video autoencoder's task: give clips back from few numbers, first their single frames, then a few in turn, then whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.latents.reconstruction import num_values, psnr
from components.engines.latents.video import frame_step, latent_shape
from components.engines.training.task import Batch, Task, Turn
from components.engines.videos.buckets import Bucket, fitted
from components.engines.videos.dataset import Video
from components.engines.videos.kept import Kept

VALID_BATCH, VALID_CLIPS = 16, 64


class VideoReconstruction(Task):
    """Squared error of the pixels, and a little KL divergence (see reconstruction.py).

    In the first `picture_steps` one frame of each clip is learnt, as a picture: that is what most of the error is about, at a
    fraction of the cost (Wan's own begins as one of pictures, arXiv 2503.20314, § 4.1). In the next `short_steps` it is as few
    frames in turn as have a latent beside the first one's: all that works in time is used, at half of the cost for nine frames.
    Clips too short for `bucket` are not used.
    Batches: `pixels` [n, 3, frames, height, width] in [-1, 1]; `noise`, of the latents' shape, for the draw from the posterior.
    """

    def __init__(
        self,
        autoencoder: Any,
        train: Sequence[Video],
        valid: Sequence[Video],
        *,
        bucket: Bucket,
        picture_steps: int,
        short_steps: int,
        kl_weight: float,
        seed: int,
    ) -> None:
        self.autoencoder, self.bucket = autoencoder, bucket
        self.picture_steps, self.short_steps = picture_steps, short_steps
        self.kl_weight, self.seed = kl_weight, seed
        self.short = min(bucket.frames, 1 + frame_step(autoencoder))
        self.long = [place for place, one in enumerate(train) if one.metadata["frames"] >= bucket.span]
        shown = [one for one in valid if one.metadata["frames"] >= bucket.span][:VALID_CLIPS]
        self.valid = torch.stack([fitted(one.frames(), bucket) for one in shown])
        self.fitted = Kept(lambda place: fitted(train[place].frames(), bucket))
        self.modules = {"autoencoder": autoencoder}
        self.num_samples = len(self.long)
        self.shape = latent_shape(autoencoder, bucket.frames, bucket.height, bucket.width)
        parameters = list(autoencoder.parameters())
        # what works in time alone gets no gradient from pictures
        self.turns = [
            Turn("autoencoder", self.loss, parameters, weight=num_values, every_parameter_used=not picture_steps)
        ]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        rngs = [np.random.default_rng(derive(self.seed, "posterior", epoch, index)) for index in indices.tolist()]
        pixels = torch.stack([self.fitted(self.long[index]) for index in indices.tolist()])
        noise = np.stack([rng.standard_normal(self.shape, dtype=np.float32) for rng in rngs])
        chosen = torch.tensor([int(rng.integers(self.bucket.frames)) for rng in rngs])
        return {"pixels": pixels, "noise": torch.from_numpy(noise), "chosen": chosen}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Summed over pixel values; where only some frames of a clip are learnt, what they miss counts for all of it."""
        pixels, noise = batch["pixels"], batch["noise"]
        values = pixels.numel()
        if self.step < self.picture_steps:
            pixels = self._window(pixels, batch["chosen"], 1)
        elif self.step < self.picture_steps + self.short_steps:
            pixels = self._window(pixels, batch["chosen"], self.short)
        noise = noise[:, :, : latent_shape(self.autoencoder, *pixels.shape[2:])[1]]
        posterior = self.autoencoder.encode(pixels).latent_dist
        latents = posterior.mean + posterior.std * noise
        error = functional.mse_loss(self.autoencoder.decode(latents).sample.float(), pixels) * values
        divergence = posterior.kl().float().mean() / latents[0].numel() * values
        return error + self.kl_weight * divergence, {"mse": error.detach(), "kl": divergence.detach()}

    def _window(self, pixels: Tensor, chosen: Tensor, frames: int) -> Tensor:
        """So many frames in turn of each clip, the earlier the lower `chosen` (0 … frames of a clip - 1)."""
        first = chosen * (self.bucket.frames - frames + 1) // self.bucket.frames
        places = first[:, None] + torch.arange(frames, device=first.device)  # [n, frames]
        rows = torch.arange(len(pixels), device=pixels.device)[:, None]
        return pixels[rows, :, places].transpose(1, 2)  # what is indexed comes first: [n, frames, 3, height, width]

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Error and PSNR (dB, of the mean error over all clips) of validation clips from the posterior's mean."""
        device = next(self.autoencoder.parameters()).device
        total = 0.0
        for pixels in self.valid.to(device).split(VALID_BATCH):
            again = self.autoencoder.decode(self.autoencoder.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
            total += functional.mse_loss(again.float(), pixels, reduction="sum").item()
        return {"valid_mse": total / self.valid.numel(), "valid_psnr": psnr(total / self.valid.numel())}
