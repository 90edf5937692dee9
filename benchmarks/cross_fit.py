"""What the relevance filter finds of wrong captions on real pictures that CLIP was trained on, by number of folds.

    python -m benchmarks.cross_fit PICTURES/metadata.csv [FOLDS …]

A share of the captions is swapped with those of other pictures; the rooms clip and text_to_image read the same table, as
docs/captioned_images.md has it, with the params of params.yaml. Printed: AUC of right against swapped captions over training
pairs, over the validation pairs, which no model has learnt, and how many swapped ones lie among the lowest scores.
"""

from __future__ import annotations

import csv
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shards import scratch
from components.clip.architecture import Architecture
from components.clip.tokenizer import Tokenizer, tokenizer
from components.clip.train import Train, train
from components.engines.base.params import load_section
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.captioned.clean import ImageCleaning, clean_images
from components.engines.captioned.dataset import CaptionedImages
from components.engines.captioned.ingest import ImageIngest, ingest_images
from components.engines.scoring.ranking import roc_auc
from components.text_to_image.filter import Filter, filter

ROOT = Path(__file__).resolve().parents[1]
SWAPPED = 0.3
SHARED = {"valid_fraction": 0.1, "test_fraction": 0.05}


def swapped_table(table: Path, written: Path) -> set[tuple[str, str]]:
    """The table with a share of its captions swapped; which (file, caption) are."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [(row["file"], row["caption"]) for row in csv.DictReader(file)]
    rng = random.Random(0)
    wrong, told = set(), []
    for file_name, caption in rows:
        said = caption
        if rng.random() < SWAPPED:
            said = rng.choice([other for _, other in rows if other != caption])
            wrong.add((file_name, said))
        told.append((file_name, said))
    with written.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *told])
    return wrong


def context_of(root: Path, system: str, stage: str) -> StageContext:
    work = root / "work" / f"{system}-{stage}"
    work.mkdir(parents=True, exist_ok=True)
    return StageContext(system, stage, "key", work, root, {}, {})


def section(kind: type[Any], key: str, **changes: Any) -> Any:
    return kind(**(load_section(kind, key, ROOT / "params.yaml").model_dump() | changes))


def prepare(root: Path, table: Path, images: Path) -> None:
    """Both rooms' cleaned pictures, and clip's model."""
    for system in ("clip", "text_to_image"):
        place = root / system
        asked = section(ImageIngest, f"{system}.ingest", source=str(table), images=str(images), **SHARED)
        ingest_images(asked, place / "images")
        cleaning = section(ImageCleaning, f"{system}.clean")
        ins = (place / "images", place / "cleaned", place / "cleaning.json")
        clean_images(cleaning, context_of(root, system, "clean"), *ins)
        write_json(place / "checked.json", {"success": True})
    place = root / "clip"
    shape = section(Architecture, "clip.architecture")
    ins = (place / "cleaned", place / "checked.json", place / "tokenizer")
    tokenizer(section(Tokenizer, "clip.tokenizer"), shape, *ins)
    outs = (place / "model", place / "recipe.json", place / "train_curve.csv")
    train(
        section(Train, "clip.train"),
        shape,
        context_of(root, "clip", "train"),
        place / "cleaned",
        place / "tokenizer",
        *outs,
    )


def measured(root: Path, wrong: set[tuple[str, str]], folds: Any) -> str:
    start, place, clip = time.perf_counter(), root / f"filter-{folds}", root / "clip"
    place.mkdir()
    ins = (
        root / "text_to_image/cleaned",
        clip / "checked.json",
        clip / "model",
        clip / "recipe.json",
        clip / "cleaned",
    )
    names = ("scored", "scorers", "filtering.json", "filter_scores.csv", "filter_charts.json")
    asked = section(Filter, "text_to_image.filter", cross_fit=folds)
    filter(asked, context_of(place, "text_to_image", "filter"), *ins, *(place / name for name in names))
    said = [f"cross_fit {folds}: {time.perf_counter() - start:.0f} s"]
    for split in ("train", "valid"):
        pairs = CaptionedImages(place / "scored", split)
        scores = np.array([one.metadata["relevance"] for one in pairs])
        is_wrong = np.array([(one.metadata["name"], one.caption) in wrong for one in pairs])
        lowest = np.argsort(scores)[: is_wrong.sum()]
        said.append(
            f"{split}: {len(scores)} pairs, {is_wrong.sum()} swapped, AUC {roc_auc(scores[~is_wrong], scores[is_wrong]):.3f}, "
            f"precision at their number {is_wrong[lowest].mean():.2f}, below the threshold "
            f"{(scores[is_wrong] < asked.threshold).sum()} of them and {(scores[~is_wrong] < asked.threshold).sum()} others"
        )
    return "; ".join(said)


def main() -> None:
    table = Path(sys.argv[1]).resolve()
    with scratch() as root:
        wrong = swapped_table(table, root / "swapped.csv")
        prepare(root, root / "swapped.csv", table.parent)
        for folds in ["off", *(int(one) for one in sys.argv[2:])]:
            print(measured(root, wrong, folds), flush=True)


if __name__ == "__main__":
    main()
