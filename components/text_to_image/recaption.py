"""Recaptioning: what the filter marked gets a new caption if that fits the image better, and goes if none does."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.engines.base import stage
from components.engines.base.errors import StageError
from components.engines.base.params import Count, Fraction, Params
from components.engines.base.paths import write_json, write_jsonl
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.text_to_image.filter import CURATED_SPLITS, Filter

NUM_SAMPLES = 12
PICTURES = "recaptioned"  # as dvc.yaml calls the folder: while a stage runs its outputs have other names


class Recaption(Params):
    """What becomes of marked pairs: `recaption` them, `drop` them, or `keep` them as they are (to compare).

    A new caption is taken if its own score by CLIP reaches the filter's threshold and is `min_gain` above the old one's.
    `inclusive`: by the rules of engines/captioned/fairness.py, so that no painter learns what captioners guess of people.
    """

    marked: Literal["recaption", "drop", "keep"] = "recaption"
    min_gain: float = 0.0
    inclusive: bool = True
    decoding: Decoding
    workers: Count = 0
    max_bad_fraction: Fraction = 0.01


def recaption(
    params: Recaption,
    filter: Filter,
    context: StageContext,
    scored: Path,
    clip_model: Path,
    image_captioning_model: Path,
    curated: Path,
    curation: Path,
    recaption_samples: Path,
    recaption_charts: Path,
    recaptioned: Path,
) -> None:
    """Write what training learns from, through the shard map.

    `curated` holds the pairs with their old or new captions, and those refused with both scores; `curation` the counts and,
    where the truth is known, how many captions are wrong before and after; `recaption_samples` captions before and after,
    with their pictures in `recaptioned`.
    """
    from components.engines.shards.map import map_shards
    from components.text_to_image.recaptioning import Recaptioning

    map_shards(
        partial(Recaptioning, params, filter.threshold, clip_model, image_captioning_model),
        scored,
        curated,
        work=context.work / "map",
        workers=params.workers,
        max_bad_fraction=params.max_bad_fraction,
    )
    _refuse_empty_splits(curated, filter.threshold)
    figures = _figures(scored, curated)
    write_json(curation, figures)
    write_jsonl(recaption_samples, _samples(curated, recaptioned))
    funnel = {name: figures[name] for name in ("pairs", "kept_as_found", "recaptioned", "refused")}
    write_json(recaption_charts, [{"title": "Curation", "kind": "bars", "xlabel": "pairs", "values": funnel}])


def _refuse_empty_splits(curated: Path, threshold: float) -> None:
    from components.engines.shards.manifest import read_manifest

    left = read_manifest(curated).splits
    empty = [split for split in CURATED_SPLITS if not left.get(split)]
    if empty:
        raise StageError(
            f"No pair of {' and '.join(empty)} reaches the relevance threshold {threshold:g}, old caption or new",
            where="params.yaml: text_to_image.filter.threshold",
            do="lower it (genworks whatif text_to_image), or look at the models of clip and image_captioning",
        )


def _figures(scored: Path, curated: Path) -> dict[str, Any]:
    from components.engines.captioned.dataset import CaptionedImages
    from components.text_to_image.recaptioning import BEFORE
    from components.text_to_image.relevance import RELEVANCE, is_wrong

    before = [one for split in CURATED_SPLITS for one in CaptionedImages(scored, split)]
    after = [one for split in CURATED_SPLITS for one in CaptionedImages(curated, split)]
    renewed = [one for one in after if BEFORE in one.told]
    figures: dict[str, Any] = {
        "pairs": len(before),
        "kept_as_found": len(after) - len(renewed),
        "recaptioned": len(renewed),
        "refused": len(before) - len(after),
    }
    if renewed:
        figures["mean_gain"] = float(np.mean([one.told[RELEVANCE] - one.told[BEFORE][RELEVANCE] for one in renewed]))
    if before and all(one.scene for one in before):
        for name, pairs in (("wrong_before", before), ("wrong_after", after), ("wrong_recaptions", renewed)):
            if pairs:
                figures[name] = float(np.mean([bool(is_wrong(one)) for one in pairs]))
    return figures


def _samples(curated: Path, pictures: Path) -> list[dict[str, Any]]:
    """Evenly drawn pairs whose caption was written anew: before and after."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.text_to_image.recaptioning import BEFORE

    pictures.mkdir(parents=True, exist_ok=True)
    renewed = [one for one in CaptionedImages(curated, "train") if BEFORE in one.told]
    rows = []
    for one in renewed[:: max(len(renewed) // NUM_SAMPLES, 1)][:NUM_SAMPLES]:
        (pictures / f"{one.key}.png").write_bytes(one.image)
        was = one.told[BEFORE]
        rows.append(
            {
                "id": one.key,
                "kind": "random",
                "pictures": {"image": f"{PICTURES}/{one.key}.png"},
                "fields": {
                    "before": was["caption"],
                    "after": one.caption,
                    "score before": f"{was['relevance']:.3f}",
                    "score after": f"{one.told['relevance']:.3f}",
                },
                "score": one.told["relevance"] - was["relevance"],
            }
        )
    return rows


if __name__ == "__main__":
    stage.main(recaption)
