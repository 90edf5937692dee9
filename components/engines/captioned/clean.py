"""Cleaning: decode and check every image, normalise captions, drop copies and what leaks from testing into training."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from components.engines.base.evidence import RecordFile, Reread
from components.engines.base.params import Count, MaxBadFraction, MaxRejectedFraction, Params, Positive, Workers
from components.engines.base.paths import each_of_jsonl, remove, write_json, write_jsonl
from components.engines.base.stage import StageContext
from components.engines.images.decode import Limits
from components.engines.images.lookalikes import MAX_BITS, MAX_LEVELS
from components.engines.text.normalization import normalise

if TYPE_CHECKING:
    from components.engines.captioned.dataset import Captioned


class ImageCleaning(Params):
    """What a usable captioned image looks like.

    Images are kept at `store_px` on their longer side, if they were larger. `copies` says what counts as one: the same
    `image`, or only the same image with the same caption (`pair`, for data with several captions an image). Images are alike
    if their difference hashes differ in `max_hash_bits` of 64 at most, their thumbnails of 8 x 8 pixels nowhere by more than
    `max_levels` of 255, and their patterns and colours little for the contrast and saturation there is (see lookalikes.py).
    """

    limits: Limits = Limits()
    min_px: Positive = 16
    max_aspect: Annotated[float, Field(ge=1)] = 4.0
    store_px: Positive = 64
    max_caption_chars: Positive = 500
    copies: Literal["image", "pair"] = "image"
    max_hash_bits: Annotated[int, Field(ge=0, le=32)] = MAX_BITS
    max_levels: Count = MAX_LEVELS
    workers: Workers = 0
    max_bad_fraction: MaxBadFraction = 0.1
    max_rejected_fraction: MaxRejectedFraction = 0.5


def clean_images(params: ImageCleaning, context: StageContext, images: Path, cleaned: Path, cleaning: Path) -> None:
    """Check each image on its own (the shard map), then drop copies over all of them.

    `cleaned` holds upright RGB PNGs with their captions, `rejected.jsonl` and `quarantined.jsonl` (key and reason of all
    others); `cleaning` the counts by reason and, where the source tells the truth about its files, what was caught of it.
    """
    from components.engines.shards.manifest import read_manifest
    from components.engines.shards.map_shards import map_shards

    checked = context.work / "checked"
    map_shards(
        partial(ImageCheck, params),
        images,
        checked,
        work=context.work / "map",
        workers=params.workers,
        max_bad_fraction=params.max_bad_fraction,
    )
    _drop_copies(params, checked, cleaned, context.name)
    books = read_manifest(cleaned).funnel
    assert books is not None
    kept_fraction = books.kept / max(books.seen, 1)
    write_json(cleaning, {**books.as_dict(), "kept_fraction": kept_fraction, **_caught(images, cleaned)})


class ImageCheck:
    """The checks that look at one captioned image alone (a `Mapper` of the shard map)."""

    batch_size = 64

    def __init__(self, params: ImageCleaning) -> None:
        self.params = params

    def decode(self, sample: dict[str, Any]) -> tuple[Captioned, Any]:
        from components.engines.captioned.dataset import Captioned
        from components.engines.images.decode import decode_image

        found = Captioned.from_sample(sample)
        return found, decode_image(found.image, self.params.limits)

    def apply(self, items: list[tuple[Captioned, Any]]) -> list[Any]:
        from components.engines.shards.map_shards import Rejected

        answers: list[Any] = []
        for found, picture in items:
            caption = normalise(found.caption)
            reason = self.reason_against(caption, picture.size)
            answers.append(Rejected(reason, found.to_sample()) if reason else self._kept(found, caption, picture))
        return answers

    def reason_against(self, caption: str, size: tuple[int, int]) -> str | None:
        """Why this caption, or an image of this size, is no training material, or None."""
        if not caption:
            return "no caption"
        if len(caption) > self.params.max_caption_chars:
            return "caption too long"
        if min(size) < self.params.min_px:
            return "too small"
        return "too narrow" if max(size) > self.params.max_aspect * min(size) else None

    def _kept(self, found: Captioned, caption: str, picture: Any) -> dict[str, Any]:
        from components.engines.captioned.dataset import Captioned
        from components.engines.images.decode import encode_png, shrink
        from components.engines.images.lookalikes import Print

        small = shrink(picture, self.params.store_px)
        metadata = {**found.metadata, "width": small.width, "height": small.height, "print": Print.of(small).as_dict()}
        return Captioned(found.key, encode_png(small), caption, metadata).to_sample()


def _drop_copies(params: ImageCleaning, checked: Path, cleaned: Path, where: str) -> None:
    """Write what is left after dropping copies within a split, and images of training or validation that are held out."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.images.lookalikes import Lookalikes
    from components.engines.shards.manifest import read_manifest, write_manifest
    from components.engines.shards.writer import ShardWriter
    from components.engines.sources.splits import SPLITS

    books = read_manifest(checked)
    assert books.funnel is not None
    rejected = partial(_without_pixels, checked / "rejected.jsonl")
    if not books.funnel.kept:
        books.funnel.check_some_kept(
            "images",
            where=where,
            do=f"look at the source, or set the params of {where.replace('-', '.')} that reject them",
            records=Reread(lambda: chain(rejected(), _without_pixels(checked / "quarantined.jsonl"))),
        )
    funnel, per_shard = books.funnel, max(shard.samples for shard in books.shards)
    held_out = Lookalikes(params.max_hash_bits, params.max_levels)
    shards = []
    with RecordFile(cleaned / "copies.jsonl") as dropped:
        for split in reversed(SPLITS):  # test first: its images are never the ones dropped
            copies = _Copies(params, held_out)
            with ShardWriter(cleaned, split, per_shard) as writer:
                for one in CaptionedImages(checked, split):
                    found = copies.find(one)
                    if found is None:
                        writer.write(one.to_sample())
                        copies.add(one)
                        continue
                    reason, like = found
                    funnel.kept -= 1
                    funnel.rejected[reason] += 1
                    dropped.append({"key": one.key, "reason": reason, "detail": f"of {like}", "caption": one.caption})
            copies.close()
            shards += writer.shards
    funnel.check(
        where=where,
        max_rejected_fraction=params.max_rejected_fraction,
        records=Reread(lambda: chain(rejected(), dropped)),
    )
    write_jsonl(cleaned / "rejected.jsonl", chain(each_of_jsonl(checked / "rejected.jsonl"), dropped))
    remove(dropped.path)
    shutil.copyfile(checked / "quarantined.jsonl", cleaned / "quarantined.jsonl")
    write_manifest(cleaned, shards, funnel)


def _without_pixels(refused: Path) -> Iterator[dict[str, Any]]:
    """Refused samples as evidence: why, and what tells people which picture it is."""
    for row in each_of_jsonl(refused):
        known = json.loads(row["fields"]["json"])
        name = {"name": known["name"]} if "name" in known else {}
        yield {key: row[key] for key in ("key", "reason", "detail")} | {"caption": known["caption"], **name}


class _Copies:
    """What of a split was kept so far, and what splits before it hold."""

    def __init__(self, params: ImageCleaning, held_out: Any) -> None:
        from components.engines.images.lookalikes import Lookalikes

        self.params, self.held_out = params, held_out
        self.by_caption: dict[str, Lookalikes] = {}
        self.kept: list[tuple[str, Any]] = []

    def find(self, one: Captioned) -> tuple[str, str] | None:
        """(reason, key of what it repeats), or None."""
        print_ = _print(one)
        held_out = self.held_out.find(print_)
        if held_out:
            return "held out", held_out[0]
        known = self.by_caption.get(self._group(one))
        found = known.find(print_) if known else None
        return ("duplicate" if found[1] else "near duplicate", found[0]) if found else None

    def add(self, one: Captioned) -> None:
        from components.engines.images.lookalikes import Lookalikes

        fresh = partial(Lookalikes, self.params.max_hash_bits, self.params.max_levels)
        group = self._group(one)
        if group not in self.by_caption:
            self.by_caption[group] = fresh()
        self.by_caption[group].add(one.key, _print(one))
        self.kept.append((one.key, _print(one)))

    def close(self) -> None:
        """The split is done: for the ones after it, its images are held out."""
        for key, print_ in self.kept:
            self.held_out.add(key, print_)

    def _group(self, one: Captioned) -> str:
        return one.caption if self.params.copies == "pair" else ""


def _print(one: Captioned) -> Any:
    from components.engines.images.lookalikes import Print

    return Print.from_dict(one.metadata["print"])


def _caught(images: Path, cleaned: Path) -> dict[str, Any]:
    """Of files that had to go, how many went, and of files that look odd but are sound, how many stayed (sample world only).

    Wrong captions are no business of this stage: no look at image or caption alone can tell.
    """
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.sources.splits import SPLITS
    from components.engines.worlds.captioned import BAD_FILES, ODD_FILES

    states = {
        one.key: one.metadata["truth"]["file"]
        for split in SPLITS
        for one in CaptionedImages(images, split)
        if "truth" in one.metadata
    }
    if not states:
        return {}
    kept = {one.key for split in SPLITS for one in CaptionedImages(cleaned, split)}
    met, gone = Counter(states.values()), Counter(state for key, state in states.items() if key not in kept)
    bad = sum(gone[kind] for kind in BAD_FILES)
    return {
        "dirt_recall": bad / max(sum(met[kind] for kind in BAD_FILES), 1),
        "dirt_precision": bad / max(len(states) - len(kept), 1),
        "dirt_recall_by_kind": {kind: gone[kind] / met[kind] for kind in BAD_FILES if met[kind]},
        "odd_files_kept": {kind: 1 - gone[kind] / met[kind] for kind in ODD_FILES if met[kind]},
    }
