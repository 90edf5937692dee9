"""Networks that see: features for Fréchet and kernel distances, feature maps for the perceptual distance of two images.

LPIPS is Zhang et al. 2018 (https://arxiv.org/abs/1801.03924). Shapes: B images, C channels, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.errors import StageError, UsageError
from components.engines.nn.checkpoints import load_network

# Statistics of the pixels OpenAI's CLIP was trained on: what CLIPImageProcessor subtracts and divides by, unless told otherwise.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class FeatureNetwork(Protocol):
    """What a figure rests on; its `name` becomes part of the figure's."""

    name: str

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, height, width] from 0 to 1 -> [B, D]."""
        ...

    def maps(self, images: Tensor) -> list[Tensor]:
        """[B, 3, height, width] from 0 to 1 -> per layer [B, C, h, w]."""
        ...


class ClipFeatures:
    """CLIP's image encoder: features are its embeddings (projected, *not* of length 1), maps the patches of every layer.

    `model` is a transformers CLIPModel, CLIPVisionModelWithProjection or CLIPVisionModel (which has no projection: the
    pooled state stands in). Images of another size are resized, whole, to the network's square; `mean` and `std` are the
    image processor's.
    """

    def __init__(
        self,
        model: Any,
        name: str = "clip",
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
    ) -> None:
        self.name, self.model = name, model.eval()
        self.mean, self.std = tuple(mean), tuple(std)
        config = getattr(model.config, "vision_config", model.config)
        self.px, self.side = config.image_size, config.image_size // config.patch_size

    @classmethod
    def load(cls, folder: str | Path, name: str = "clip") -> ClipFeatures:
        """From a hub id or folder with the weights of a whole CLIP model or its image encoder (safetensors only) and
        its preprocessor_config.json."""
        from transformers import AutoConfig, CLIPImageProcessorPil, CLIPModel, CLIPVisionModelWithProjection

        do = "give a hub id or a folder with config.json, model.safetensors and preprocessor_config.json"
        try:
            whole = AutoConfig.from_pretrained(str(folder), trust_remote_code=False).model_type == "clip"
            kind = CLIPModel if whole else CLIPVisionModelWithProjection
            model = load_network(kind, folder, "a CLIP image encoder")
            processor = CLIPImageProcessorPil.from_pretrained(str(folder))
        except (OSError, ValueError) as error:
            cause = str(error).strip().splitlines()[0]
            raise UsageError(f"Cannot load a CLIP image encoder: {cause}", where=str(folder), do=do) from None
        return cls(model, name, processor.image_mean, processor.image_std)

    def to(self, device: Any) -> Self:
        self.model.to(device)
        return self

    def features(self, images: Tensor) -> Tensor:
        pixels = self._pixels(images)
        if hasattr(self.model, "get_image_features"):
            return self.model.get_image_features(pixel_values=pixels).pooler_output
        output = self.model(pixel_values=pixels)
        return output.image_embeds if hasattr(output, "image_embeds") else output.pooler_output

    def maps(self, images: Tensor) -> list[Tensor]:
        encoder = getattr(self.model, "vision_model", self.model)
        layers = encoder(pixel_values=self._pixels(images), output_hidden_states=True).hidden_states[1:]
        # [B, 1 + patches, C]: the class token has no place in the picture
        return [layer[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side)) for layer in layers]

    def _pixels(self, images: Tensor) -> Tensor:
        parameter = next(self.model.parameters())
        return normalised(resized(images.to(parameter.device), self.px), self.mean, self.std).to(parameter.dtype)


def resized(images: Tensor, px: int) -> Tensor:
    """[B, 3, h, w] -> [B, 3, px, px], bicubic with antialiasing; left alone if they have that size."""
    if images.shape[2:] == (px, px):
        return images
    return functional.interpolate(images, (px, px), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Per channel (pixel − mean) / std."""
    means, stds = (images.new_tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return (images - means) / stds


@torch.inference_mode()
def features_of(network: FeatureNetwork, images: Tensor, batch_size: int = 64) -> Tensor:
    """Features of many images [n, 3, height, width], batch by batch: float32 [n, D] on the CPU."""
    return torch.cat([network.features(batch).float().cpu() for batch in images.split(batch_size)])


@torch.inference_mode()
def perceptual_distances(
    network: FeatureNetwork,
    images: Tensor,
    others: Tensor,
    weights: Sequence[Tensor] | None = None,
    batch_size: int = 32,
) -> Tensor:
    """LPIPS of image i and other i, both [n, 3, height, width] from 0 to 1: float32 [n] on the CPU, 0 for equal images."""
    pairs = zip(images.split(batch_size), others.split(batch_size), strict=True)
    return torch.cat([map_distances(network.maps(one), network.maps(other), weights).cpu() for one, other in pairs])


def map_distances(maps: Sequence[Tensor], others: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Maps per layer [B, C, h, w] -> float32 [B]: Σ over layers of the mean over places of Σ over channels w (f̂ − ĝ)².

    f̂ and ĝ have length 1 at each place. `weights` are LPIPS' learned ones, 0 or more, [C] per layer; without them all are 1.
    """
    if weights is not None and [len(one) for one in weights] != [one.shape[1] for one in maps]:
        raise StageError(
            f"LPIPS weights must be one per channel, {[one.shape[1] for one in maps]}, not {[len(one) for one in weights]}"
        )
    distances = []
    for layer, (one, other) in enumerate(zip(maps, others, strict=True)):
        squared = (_of_length_one(one.float()) - _of_length_one(other.float())).square()
        if weights is not None:
            squared = squared * weights[layer].to(squared).view(1, -1, 1, 1)
        distances.append(squared.sum(dim=1).mean(dim=(1, 2)))
    return torch.stack(distances).sum(dim=0)


def _of_length_one(values: Tensor) -> Tensor:
    return values / (values.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()  # a place without any activation stays 0
