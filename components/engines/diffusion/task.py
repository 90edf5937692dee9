"""The diffusion task: from latents with noise at any level, say what the noise (or the velocity) was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.captioned.dataset import CaptionedImages
from components.engines.diffusion.denoiser import denoise, sees_padding
from components.engines.diffusion.encoding import CaptionedEncoder, encode_pixels
from components.engines.diffusion.noising import noising_of
from components.engines.images.pixels import to_pixels
from components.engines.training.task import Batch, Task, Turn

VALID_BATCH = 64


@dataclass(frozen=True)
class Draw:
    """What chance decides about one sample: a function of the seed and the sample's place."""

    noise: np.ndarray  # [channels, side, side], float32
    timestep: int
    drops_caption: bool

    @classmethod
    def of(cls, shape: tuple[int, ...], timesteps: int, dropout: float, seed: int, *place: object) -> Draw:
        rng = np.random.Generator(np.random.PCG64(derive(seed, *place)))
        noise = rng.standard_normal(shape, dtype=np.float32)
        return cls(noise, int(rng.integers(timesteps)), bool(rng.random() < dropout))


class Inputs(Protocol):
    """Where latents and text embeddings come from: a cache, or the encoders in every step."""

    frozen: dict[str, Any]

    def __len__(self) -> int: ...

    def collate(self, indices: Sequence[int]) -> Batch:
        """Tensors of these samples, among them `mask` [n, tokens], int64."""
        ...

    def latents(self, batch: Batch) -> Tensor:
        """[n, channels, side, side], float32, on the batch's device."""
        ...

    def embeddings(self, batch: Batch) -> Tensor:
        """[n, tokens, width], float32."""
        ...


class CachedInputs:
    """Latents and embeddings as the stage `precompute` stored them (`samples`: EncodedSamples)."""

    def __init__(self, samples: Sequence[dict[str, np.ndarray]]) -> None:
        self.samples = samples
        self.frozen: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def collate(self, indices: Sequence[int]) -> Batch:
        chosen = [self.samples[index] for index in indices]
        batch = {name: torch.from_numpy(np.stack([one[name] for one in chosen])) for name in chosen[0]}
        return {**batch, "mask": batch["mask"].long()}

    def latents(self, batch: Batch) -> Tensor:
        return batch["latents"]

    def embeddings(self, batch: Batch) -> Tensor:
        return batch["embeddings"]


class EncodedInputs:
    """Pictures and captions that go through both encoders in every step."""

    def __init__(self, images: CaptionedImages, encoder: CaptionedEncoder) -> None:
        self.images, self.encoder = images, encoder
        self.frozen: dict[str, Any] = {"autoencoder": encoder.autoencoder, "text_encoder": encoder.conditioner.network}

    def __len__(self) -> int:
        return len(self.images)

    def collate(self, indices: Sequence[int]) -> Batch:
        chosen = [self.images[index] for index in indices]
        ids, mask = self.encoder.conditioner.tokens([one.caption for one in chosen])
        return {"pixels": to_pixels([one.open() for one in chosen], self.encoder.image_px), "ids": ids, "mask": mask}

    def latents(self, batch: Batch) -> Tensor:
        return encode_pixels(self.encoder.autoencoder, batch["pixels"])

    def embeddings(self, batch: Batch) -> Tensor:
        return self.encoder.conditioner.embed(batch["ids"], batch["mask"])


class Denoising(Task):
    """Mean squared error of the prediction (Ho et al. 2020, § 3.4), per sample.

    Batches: those of the inputs, `noise` [n, channels, side, side], `timesteps` [n], `dropped` [n]: whose caption is replaced
    by the empty one, so that the network also learns what pictures look like in general (Ho & Salimans 2022).
    """

    def __init__(
        self,
        network: Any,
        scheduler: Any,
        train: Inputs,
        valid: Inputs,
        null: tuple[Tensor, Tensor],
        *,
        caption_dropout: float,
        valid_samples: int,
        seed: int,
    ) -> None:
        self.network, self.train, self.valid, self.null = network, train, valid, null
        self.caption_dropout, self.seed = caption_dropout, seed
        self.valid_count = min(valid_samples, len(valid))
        self.noising = noising_of(scheduler)
        self.modules, self.frozen = {"network": network}, train.frozen
        self.num_samples = len(train)
        self.turns = [Turn("network", self.loss, list(network.parameters()), weight=num_samples)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate(self.train, indices, self.caption_dropout, f"epoch {epoch}")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        config = self.network.config
        return config.in_channels, config.sample_size, config.sample_size

    def _collate(self, inputs: Inputs, indices: np.ndarray, dropout: float, purpose: str) -> Batch:
        return self._collated(inputs, indices, self.latent_shape, dropout, purpose)

    def _collated(
        self, inputs: Inputs, indices: np.ndarray, shape: tuple[int, ...], dropout: float, purpose: str
    ) -> Batch:
        """Of samples whose latents have one `shape`."""
        draws = [Draw.of(shape, self.noising.levels, dropout, self.seed, purpose, index) for index in indices.tolist()]
        batch = inputs.collate(indices.tolist())
        return {
            **self._without_padding(batch),
            "noise": torch.from_numpy(np.stack([draw.noise for draw in draws])),
            "timesteps": torch.tensor([draw.timestep for draw in draws]),
            "dropped": torch.tensor([draw.drops_caption for draw in draws]),
        }

    def _without_padding(self, batch: Batch) -> Batch:
        """The tokens that some caption of the batch has, for a network that is given the mask; others keep all padding."""
        if sees_padding(self.network):
            return batch
        longest = int(batch["mask"].sum(1).max().clamp(min=int(self.null[1].sum())))
        return {
            name: tensor[:, :longest] if name in {"mask", "ids", "embeddings"} else tensor
            for name, tensor in batch.items()
        }

    def count_tokens(self, batch: Batch) -> int:
        """Places of the latents."""
        return len(batch["noise"]) * self.latent_shape[1] * self.latent_shape[2]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(self.train, batch), {}

    def _loss(self, inputs: Inputs, batch: Batch) -> Tensor:
        """Summed over the samples of a batch."""
        latents, noise, timesteps = inputs.latents(batch), batch["noise"], batch["timesteps"]
        embeddings, mask = self._with_dropout(inputs.embeddings(batch), batch["mask"], batch["dropped"])
        noisy = self.noising.noisy(latents, noise, timesteps)
        predicted = denoise(self.network, noisy, self.noising.times(timesteps), embeddings, mask)
        target = self.noising.target(latents, noise, timesteps)
        return functional.mse_loss(predicted.float(), target, reduction="none").flatten(1).mean(1).sum()

    def _with_dropout(self, embeddings: Tensor, mask: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
        tokens = mask.shape[1]
        null, null_mask = (tensor[:, :tokens].to(mask.device) for tensor in self.null)
        return (
            torch.where(dropped[:, None, None], null, embeddings),
            torch.where(dropped[:, None], null_mask, mask),
        )

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Loss on the first `valid_samples` of the validation split, each with noise and timestep of its own, always the same."""
        total = 0.0
        device = next(self.network.parameters()).device
        for start in range(0, self.valid_count, VALID_BATCH):
            indices = np.arange(start, min(start + VALID_BATCH, self.valid_count))
            batch = self._collate(self.valid, indices, 0.0, "valid")
            total += self._loss(self.valid, {name: tensor.to(device) for name, tensor in batch.items()}).item()
        return {"valid_loss": total / self.valid_count}


def num_samples(batch: Batch) -> int:
    """Of a batch, or of all groups of one (see video_task.py)."""
    return sum(len(tensor) for name, tensor in batch.items() if name.rpartition(".")[2] == "noise")
