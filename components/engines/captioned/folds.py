"""Scores of pairs by models that have not learnt them: CLIP trained again without each fold of its pictures (cross-fitting).

A model that was trained on a pair scores it high, whatever its caption says: it knows it by heart. Rooms often have one source,
so what is to be filtered is what CLIP was trained on. Here its pictures fall into folds; for each fold a model learns from the
others, in the same way, and scores this one (Chernozhukov et al. 2018, arXiv 1608.00060, § 1; Northcutt et al. 2021,
arXiv 1911.00068, find wrong labels so).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from components.engines.base.paths import read_json, write_json
from components.engines.base.seeds import derive
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.sources.splits import SPLITS

log = logging.getLogger("genworks")

AUTO_FOLDS, AUTO_ABOVE = 2, 0.1  # `auto`: so many models where more than this share of the pairs was learnt
_CLIP = -1  # the number of the model itself among the scorers


def write_recipe(path: Path, init_from: str | None, max_tokens: int, training: Any) -> None:
    """How a CLIP model was made; no `training`: it is a checkpoint as it was."""
    settings = training.identity() if training else None
    write_json(path, {"init_from": init_from, "max_tokens": max_tokens, "training": settings})


@dataclass(frozen=True)
class Learnt:
    """What CLIP has learnt of the pairs that are to be scored: `by_key` the fold of each such pair, of `folds` (0: one model)."""

    pairs: int
    folds: int
    by_key: dict[str, int]

    def scorer_of(self, key: str) -> int:
        """The number of the model that scores this pair: -1 is CLIP."""
        return self.by_key.get(key, _CLIP) if self.folds else _CLIP

    def figures(self) -> dict[str, Any]:
        """For metrics: how many pairs CLIP has learnt, by how many models these were scored, and a warning if by itself."""
        found: dict[str, Any] = {"learnt_by_clip": len(self.by_key), "cross_fit_models": self.folds}
        if self.by_key and not self.folds:
            found["warnings"] = [
                f"CLIP was trained on {len(self.by_key):,} of these {self.pairs:,} pictures and scores them higher than they "
                "deserve: see text_to_image.filter.cross_fit"
            ]
        return found


NOTHING = Learnt(0, 0, {})


def read_learnt(scorers: Path) -> Learnt:
    return Learnt(**read_json(scorers / "learnt.json"))


def fold_folders(scorers: Path, folds: int) -> list[Path]:
    return [scorers / f"fold-{number}" for number in range(folds)]


def cross_fit(
    pairs: Path,
    clip: Path,
    recipe: Path,
    taught: Path,
    *,
    folds: int | Literal["auto", "off"],
    num_threads: int | None,
    work: Path,
    scorers: Path,
) -> None:
    """Write to `scorers` which of `pairs` (cleaned) the model `clip` has learnt from `taught` (cleaned), and the folders of the
    models that score these. Unfinished training goes on from `work`."""
    made = read_json(recipe)
    wanted = AUTO_FOLDS if folds == "auto" else 1 if folds == "off" else folds
    count, by_key = (0, {}) if made["training"] is None else _learnt(pairs, taught, wanted)
    few = folds == "auto" and len(by_key) <= AUTO_ABOVE * count
    learnt = Learnt(count, 0 if few or not by_key or folds == "off" else wanted, by_key)
    scorers.mkdir(parents=True, exist_ok=True)
    for number, folder in enumerate(fold_folders(scorers, learnt.folds)):
        log.info("CLIP was trained on these pictures: training it without fold %d of %d", number + 1, learnt.folds)
        _train(made, clip, taught, (number, learnt.folds), num_threads, work / folder.name, folder)
    write_json(scorers / "learnt.json", {"pairs": count, "folds": learnt.folds, "by_key": by_key})


def _learnt(pairs: Path, taught: Path, folds: int) -> tuple[int, dict[str, int]]:
    """How many pairs there are, and by key the folds of those whose picture is one of training, equal or nearly so."""
    from components.engines.images.lookalikes import MAX_BITS, MAX_LEVELS, Lookalikes, Print

    known, fold_of = Lookalikes(MAX_BITS, MAX_LEVELS), {}
    for one in CaptionedImages(taught, "train"):
        known.add(one.key, Print.from_dict(one.metadata["print"]))
        fold_of[one.key] = _fold(one, folds)
    count, by_key = 0, {}
    for split in SPLITS:
        for one in CaptionedImages(pairs, split):
            count += 1
            if found := known.find(Print.from_dict(one.metadata["print"])):
                by_key[one.key] = fold_of[found[0]]
    return count, by_key


def _fold(one: Captioned, folds: int) -> int:
    """By the pixels, so that a picture that comes with several captions is in one fold."""
    return derive(0, "fold", one.metadata["print"]["pixels"]) % folds


class OtherFolds(Sequence[Captioned]):
    """Captioned images without those of one fold."""

    def __init__(self, images: CaptionedImages, fold: int, folds: int) -> None:
        self.images = images
        self.kept = [place for place, one in enumerate(images) if _fold(one, folds) != fold]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: Any) -> Any:
        return self.images[self.kept[int(index)]]


def _train(
    recipe: dict[str, Any],
    clip: Path,
    taught: Path,
    fold: tuple[int, int],
    num_threads: int | None,
    work: Path,
    folder: Path,
) -> None:
    from components.engines.training.checkpoints.weights import load_module
    from components.engines.training.launch import launch
    from components.engines.training.params import Training

    training = Training(**recipe["training"], num_threads=num_threads)
    fit = launch(partial(fold_task, recipe, clip, taught, fold), training, work=work)
    embedder = _start(recipe, clip)
    load_module(embedder.network, fit.weights / "model.safetensors")
    embedder.save(folder)


def fold_task(recipe: dict[str, Any], clip: Path, taught: Path, fold: tuple[int, int]) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.captioned.contrastive import Contrastive

    train, valid = (CaptionedImages(taught, split) for split in ("train", "valid"))
    return Contrastive(_start(recipe, clip), OtherFolds(train, *fold), valid)


def _start(recipe: dict[str, Any], clip: Path) -> Any:
    """What the training of `clip` started from: the checkpoint, or random weights of the same shape."""
    from transformers import CLIPConfig

    from components.engines.base.seeds import seed_everything
    from components.engines.captioned.contrastive import drawn
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.scoring.embedder import Embedder, load_clip, load_clip_processor

    tokenizer = load_tokenizer(clip)
    seed_everything(recipe["training"]["seed"], "network")
    start = recipe["init_from"]
    network = load_clip(start, tokenizer) if start else drawn(CLIPConfig.from_pretrained(clip))
    return Embedder(network, tokenizer, load_clip_processor(clip), recipe["max_tokens"])
