"""Recaptioning: what the filter marked gets a new caption if that fits the image better, and goes if none does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.engines.base.errors import StageError
from components.engines.base.params import GpusPerWorker, MaxBadFraction, Params, Workers
from components.engines.base.paths import write_json, write_jsonl
from components.engines.base.stage import StageContext
from components.engines.captioned.dataset import Captioned
from components.engines.captioned.filter import CURATED_SPLITS
from components.engines.captioned.marks import MARKED, RELEVANCE, is_wrong, stored
from components.engines.generation.decoding import Decoding
from components.engines.shards.mapper import Rejected
from components.engines.text.inclusive import include

NUM_SAMPLES = 12
_PICTURES_AT_ONCE = 64  # embedded
BEFORE = "before"  # metadata of a recaptioned sample: its caption and score until then
PICTURES = "recaptioned"  # as dvc.yaml calls the folder: while a stage runs its outputs have other names


class Recaptioning(Params):
    """What becomes of marked pairs: `recaption` them, `drop` them, or `keep` them as they are (to compare).

    A new caption is taken if its own score by CLIP reaches the filter's threshold and is `min_gain` above the old one's.
    `inclusive`: by the rules of engines/text/inclusive.py, so that no painter learns what captioners guess of people.
    """

    marked: Literal["recaption", "drop", "keep"] = "recaption"
    min_gain: float = 0.0
    inclusive: bool = True
    decoding: Decoding
    workers: Workers = 0
    gpus_per_worker: GpusPerWorker = "auto"
    max_bad_fraction: MaxBadFraction = 0.01


def recaption_images(
    params: Recaptioning,
    threshold: float,
    context: StageContext,
    *,
    scored: Path,
    scorers: Path,
    clip_model: Path,
    captioner: Path,
    curated: Path,
    curation: Path,
    recaption_samples: Path,
    recaption_charts: Path,
    recaptioned: Path,
) -> None:
    """Write what training learns from, through the shard map: pairs whose score reaches the filter's `threshold`.

    `curated` holds the pairs with their old or new captions, and those refused with both scores; `curation` the counts and,
    where the truth is known, how many captions are wrong before and after; `recaption_samples` captions before and after,
    with their pictures in `recaptioned`.
    """
    from components.engines.shards.map_shards import map_shards

    map_shards(
        partial(Recaptioner, params, threshold, clip_model, captioner, scorers),
        scored,
        curated,
        work=context.work / "map",
        workers=params.workers,
        resources={"CPU": 1, "GPU": params.gpus_per_worker},
        max_bad_fraction=params.max_bad_fraction,
    )
    _refuse_empty_splits(curated, threshold, context.system)
    figures = _figures(scored, curated)
    write_json(curation, figures)
    write_jsonl(recaption_samples, _samples(curated, recaptioned))
    funnel = {name: figures[name] for name in ("pairs", "kept_as_found", "recaptioned", "refused")}
    write_json(recaption_charts, [{"title": "Curation", "kind": "bars", "xlabel": "pairs", "values": funnel}])


def _refuse_empty_splits(curated: Path, threshold: float, system: str) -> None:
    from components.engines.shards.manifest import read_manifest

    left = read_manifest(curated).splits
    empty = [split for split in CURATED_SPLITS if not left.get(split)]
    if empty:
        raise StageError(
            f"No pair of {' and '.join(empty)} reaches the relevance threshold {threshold:g}, old caption or new",
            where=f"params.yaml: {system}.filter.threshold",
            do=f"lower it (genworks whatif {system}), or look at the models of clip and image_captioning",
        )


def _figures(scored: Path, curated: Path) -> dict[str, Any]:
    """Of all pairs, one at a time: no more than their figures is kept."""

    before = [is_wrong(one) for one in _pairs(scored)]
    after, renewed, gains = [], [], []
    for one in _pairs(curated):
        after.append(is_wrong(one))
        if BEFORE in one.metadata:
            renewed.append(after[-1])
            gains.append(one.metadata[RELEVANCE] - one.metadata[BEFORE][RELEVANCE])
    figures: dict[str, Any] = {
        "pairs": len(before),
        "kept_as_found": len(after) - len(renewed),
        "recaptioned": len(renewed),
        "refused": len(before) - len(after),
    }
    if renewed:
        figures["mean_gain"] = float(np.mean(gains))
    if before and all(wrong is not None for wrong in before):
        for name, wrongs in (("wrong_before", before), ("wrong_after", after), ("wrong_recaptions", renewed)):
            if wrongs:
                figures[name] = float(np.mean([bool(wrong) for wrong in wrongs]))
    return figures


def _pairs(folder: Path) -> Iterator[Captioned]:
    from components.engines.captioned.dataset import CaptionedImages

    return (one for split in CURATED_SPLITS for one in CaptionedImages(folder, split))


def _samples(curated: Path, pictures: Path) -> list[dict[str, Any]]:
    """Evenly drawn pairs whose caption was written anew: before and after."""
    from components.engines.captioned.dataset import CaptionedImages

    pictures.mkdir(parents=True, exist_ok=True)
    train = CaptionedImages(curated, "train")
    renewed = [number for number, one in enumerate(train) if BEFORE in one.metadata]
    rows = []
    for one in map(train.__getitem__, renewed[:: max(len(renewed) // NUM_SAMPLES, 1)][:NUM_SAMPLES]):
        (pictures / f"{one.key}.png").write_bytes(one.image)
        was = one.metadata[BEFORE]
        rows.append(
            {
                "id": one.key,
                "kind": "random",
                "pictures": {"image": f"{PICTURES}/{one.key}.png"},
                "fields": {
                    "before": was["caption"],
                    "after": one.caption,
                    "score before": f"{was['relevance']:.3f}",
                    "score after": f"{one.metadata['relevance']:.3f}",
                },
                "score": one.metadata["relevance"] - was["relevance"],
            }
        )
    return rows


class Recaptioner:
    """A `Mapper` of the shard map. The models are loaded only where something may be recaptioned."""

    batch_size = 128

    def __init__(self, params: Recaptioning, threshold: float, clip: Path, captioner: Path, scorers: Path) -> None:
        self.params, self.threshold = params, threshold
        from components.engines.captioned.relevance import Scorers
        from components.engines.generation.captioner import ImageCaptioner
        from components.engines.nn.device import own_device

        if params.marked == "recaption":
            self.scorers = Scorers(clip, scorers)
            self.captioner = ImageCaptioner.load(captioner).to(own_device())

    def decode(self, sample: dict[str, Any]) -> Captioned:
        return Captioned.from_sample(sample)

    def apply(self, items: list[Captioned]) -> list[dict[str, Any] | Rejected]:
        marked = [one for one in items if one.metadata[MARKED] and self.params.marked != "keep"]
        if self.params.marked == "drop":
            return [_refused(one, "") if one.metadata[MARKED] else one.to_sample() for one in items]
        if not marked:
            return [one.to_sample() for one in items]
        pictures = [one.open() for one in marked]
        captions = [said.text for said in self.captioner.caption(pictures, self.params.decoding, scored=False)]
        if self.params.inclusive:
            captions = [include(caption).text for caption in captions]
        pixels = self.scorers.clip.pixels(pictures)
        scores = self.scorers.scores([one.key for one in marked], pixels, captions, _PICTURES_AT_ONCE)
        answers = {
            one.key: self._decided(one, caption, stored(score))
            for one, caption, score in zip(marked, captions, scores, strict=True)
        }
        return [answers.get(one.key) or one.to_sample() for one in items]

    def _decided(self, one: Captioned, caption: str, score: float) -> dict[str, Any] | Rejected:
        was = one.metadata[RELEVANCE]
        if not caption or score < self.threshold or score < was + self.params.min_gain:
            return _refused(one, f"the new caption, '{caption}', scores {score:.3f}")
        metadata = {**one.metadata, RELEVANCE: score, BEFORE: {"caption": one.caption, RELEVANCE: was}}
        return Captioned(one.key, one.image, caption, metadata).to_sample()


def _refused(one: Captioned, detail: str) -> Rejected:
    return Rejected("irrelevant", one.to_sample(), detail)
