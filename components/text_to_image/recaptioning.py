"""The mapper behind recaptioning: captions the marked pairs, and lets CLIP decide between the old caption and the new."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.captioned.dataset import Captioned
from components.engines.captioned.fairness import include
from components.engines.generation.captioner import ImageCaptioner
from components.engines.scoring.embedder import Embedder
from components.engines.shards.mapper import Rejected
from components.text_to_image.relevance import MARKED, RELEVANCE, stored

if TYPE_CHECKING:
    from components.text_to_image.recaption import Recaption

BEFORE = "before"  # what is told of a recaptioned sample: its caption and score until then


class Recaptioning:
    """A `Mapper` of the shard map. The models are loaded only where something may be recaptioned."""

    batch_size = 128

    def __init__(self, params: Recaption, threshold: float, clip: Path, captioner: Path) -> None:
        self.params, self.threshold = params, threshold
        if params.marked == "recaption":
            self.embedder, self.captioner = Embedder.load(clip), ImageCaptioner.load(captioner)

    def decode(self, sample: dict[str, Any]) -> Captioned:
        return Captioned.from_sample(sample)

    def apply(self, items: list[Captioned]) -> list[dict[str, Any] | Rejected]:
        marked = [one for one in items if one.told[MARKED] and self.params.marked != "keep"]
        if self.params.marked == "drop":
            return [_refused(one, "") if one.told[MARKED] else one.to_sample() for one in items]
        if not marked:
            return [one.to_sample() for one in items]
        pictures = [one.open() for one in marked]
        captions = [said.text for said in self.captioner.caption(pictures, self.params.decoding, scored=False)]
        if self.params.inclusive:
            captions = [include(caption).text for caption in captions]
        images, texts = self.embedder.embed_images(pictures), self.embedder.embed_texts(captions)
        scores = (images * texts).sum(1).double().tolist()
        answers = {
            one.key: self._decided(one, caption, stored(score))
            for one, caption, score in zip(marked, captions, scores, strict=True)
        }
        return [answers.get(one.key) or one.to_sample() for one in items]

    def _decided(self, one: Captioned, caption: str, score: float) -> dict[str, Any] | Rejected:
        was = one.told[RELEVANCE]
        if not caption or score < self.threshold or score < was + self.params.min_gain:
            return _refused(one, f"the new caption, '{caption}', scores {score:.3f}")
        told = {**one.told, RELEVANCE: score, BEFORE: {"caption": one.caption, RELEVANCE: was}}
        return Captioned(one.key, one.image, caption, told).to_sample()


def _refused(one: Captioned, detail: str) -> Rejected:
    return Rejected("irrelevant", one.to_sample(), detail)
