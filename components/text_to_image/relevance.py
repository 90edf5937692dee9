"""How well a caption fits its image, by CLIP: what decides over a pair, and what judges a caption that replaces another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.engines.captioned.dataset import Captioned
from components.engines.scoring.embedder import Embedder

RELEVANCE, MARKED = "relevance", "marked"  # what is told of a sample from the filter on


class Relevance:
    """Tells every pair's cosine and whether it lies below the threshold (a `Mapper` of the shard map); keeps all of them."""

    def __init__(self, clip: Path, threshold: float, batch_size: int) -> None:
        self.embedder, self.threshold, self.batch_size = Embedder.load(clip), threshold, batch_size

    def decode(self, sample: dict[str, Any]) -> tuple[Captioned, Tensor]:
        found = Captioned.from_sample(sample)
        return found, self.embedder.pixels([found.open()])

    @torch.inference_mode()
    def apply(self, items: list[tuple[Captioned, Tensor]]) -> list[dict[str, Any]]:
        images = self.embedder.image_vectors(torch.cat([pixels for _, pixels in items]).to(self.embedder.device))
        texts = self.embedder.embed_texts([found.caption for found, _ in items])
        scores = (images.float().cpu() * texts).sum(1).double().tolist()
        return [_told(found, score, self.threshold) for (found, _), score in zip(items, scores, strict=True)]


def stored(score: float) -> float:
    """A cosine as it is stored: what is decided is decided on this, so that stored scores tell the same again."""
    return round(score, 6)


def _told(found: Captioned, score: float, threshold: float) -> dict[str, Any]:
    told = {**found.told, RELEVANCE: stored(score), MARKED: stored(score) < threshold}
    return Captioned(found.key, found.image, found.caption, told).to_sample()


def is_wrong(one: Captioned) -> bool | None:
    """Whether the caption says something else than the image shows; None where nobody knows."""
    if one.scene is None:
        return None
    from components.engines.worlds.scenes import Scene, says_just

    return not says_just(one.caption, Scene(**one.scene))
