"""How well a caption fits its image, by CLIP: what decides over a pair, and what judges a caption that replaces another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.engines.captioned.dataset import Captioned
from components.engines.captioned.folds import NOTHING, fold_folders, read_learnt
from components.engines.captioned.marks import MARKED, RELEVANCE, stored
from components.engines.nn.device import own_device
from components.engines.scoring.embedder import Embedder


class Scorers:
    """CLIP, and for the pictures that it has learnt the models of `scorers` (captioned/folds.py; None: it has learnt none)."""

    def __init__(self, clip: Path, scorers: Path | None) -> None:
        self.learnt = read_learnt(scorers) if scorers else NOTHING
        self.clip = Embedder.load(clip).to(own_device())
        others = fold_folders(scorers, self.learnt.folds) if scorers else []
        self.others = [Embedder.load(folder).to(own_device()) for folder in others]

    @torch.inference_mode()
    def scores(self, keys: Sequence[str], pixels: Tensor, captions: Sequence[str], batch_size: int) -> list[float]:
        """The cosine of each pair, by a model that has not learnt its picture. pixels: [pairs, 3, px, px]; `batch_size` of them
        are embedded at once."""
        found = [0.0] * len(keys)
        for number, embedder in enumerate([self.clip, *self.others], start=-1):
            places = [place for place, key in enumerate(keys) if self.learnt.scorer_of(key) == number]
            if places:
                pieces = pixels[places].to(embedder.device).split(batch_size)
                images = torch.cat([embedder.image_vectors(piece) for piece in pieces])
                texts = embedder.embed_texts([captions[place] for place in places])
                cosines = (images.float().cpu() * texts).sum(1).double().tolist()
                for place, cosine in zip(places, cosines, strict=True):
                    found[place] = cosine
        return found


class Relevance:
    """Tells every pair's cosine and whether it lies below the threshold (a `Mapper` of the shard map); keeps all of them."""

    def __init__(self, clip: Path, threshold: float, batch_size: int, scorers: Path | None = None) -> None:
        self.scorers, self.threshold, self.batch_size = Scorers(clip, scorers), threshold, batch_size

    def decode(self, sample: dict[str, Any]) -> tuple[Captioned, Tensor]:
        found = Captioned.from_sample(sample)
        return found, self.scorers.clip.pixels([found.open()])

    def apply(self, items: list[tuple[Captioned, Tensor]]) -> list[dict[str, Any]]:
        pairs = [found for found, _ in items]
        pixels = torch.cat([pixels for _, pixels in items])
        captions = [one.caption for one in pairs]
        scores = self.scorers.scores([one.key for one in pairs], pixels, captions, self.batch_size)
        return [_marked(found, score, self.threshold) for found, score in zip(pairs, scores, strict=True)]


def _marked(found: Captioned, score: float, threshold: float) -> dict[str, Any]:
    metadata = {**found.metadata, RELEVANCE: stored(score), MARKED: stored(score) < threshold}
    return Captioned(found.key, found.image, found.caption, metadata).to_sample()
