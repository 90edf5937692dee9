"""Captioned images from the scene painter or any source -> shards, as they were found, split into train, valid and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from components.engines.base.errors import StageError
from components.engines.base.funnel import Funnel
from components.engines.base.params import Fraction, Params, Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.seeds import derive

_SPLIT_UNIT = 1_000_000


class Fields(Params):
    """Which columns of the source hold what (left out: the column has our name)."""

    image: str = "image"
    caption: str = "caption"


class ImageIngest(Params):
    """Where captioned images come from and how they are split.

    `images` is the folder or URL that paths in a table are relative to; null: where the table is. Only files below a named folder
    are looked at for changes: say it where they may be replaced. `num_*`, `image_px`, `textures`, `wrong_captions`
    and `bad_files` are for `source: sample`.
    """

    source: str = "sample"
    format: str | None = None
    fields: Fields = Fields()
    images: str | None = None
    limit: Positive | None = None
    max_image_bytes: Positive = 50_000_000
    num_train: Positive = 20_000
    num_test: Positive = 1_000
    image_px: Literal[32, 64] = 32
    textures: Annotated[tuple[Literal["plain", "striped"], ...], Field(min_length=1)] = ("plain", "striped")
    wrong_captions: Fraction = 0.3
    bad_files: Fraction = 0.1
    valid_fraction: Fraction = 0.05
    test_fraction: Fraction = 0.1
    max_bad_fraction: Fraction = 0.05
    samples_per_shard: Annotated[int, Field(gt=0)] = 2_000
    seed: int = 0


def ingest_images(params: ImageIngest, images: Path) -> None:
    """Read captioned images and write them as shards, undecoded.

    The sample world says itself what is for testing. Of other sources, an image's split follows from its bytes alone, so that
    copies never stand on both sides and adding data moves nothing.
    """
    from components.engines.captioned.dataset import SPLITS, Captioned
    from components.engines.shards.manifest import write_manifest
    from components.engines.shards.writer import ShardWriter

    funnel = Funnel()
    bad: list[dict[str, Any]] = []
    writers = {split: ShardWriter(images, split, params.samples_per_shard) for split in SPLITS}
    with ExitStack() as opened:
        for writer in writers.values():
            opened.enter_context(writer)
        for number, (split, image, caption, told) in enumerate(_found(params, funnel, bad)):
            writers[split].write(Captioned(f"{number:08d}", image, caption, told).to_sample())
            funnel.keep()
    funnel.check(where=params.source, max_bad_fraction=params.max_bad_fraction)
    _refuse_empty_splits(writers, params)
    write_jsonl(images / "quarantined.jsonl", bad)
    write_manifest(images, [shard for writer in writers.values() for shard in writer.shards], funnel)


def _found(
    params: ImageIngest, funnel: Funnel, bad: list[dict[str, Any]]
) -> Iterator[tuple[str, bytes, str, dict[str, Any]]]:
    """(split, image, caption, what else is told)"""
    if params.source == "sample":
        from components.engines.worlds.captioned import draw_records, draw_test_records

        drawn = draw_records(
            min(params.num_train, params.limit or params.num_train),
            px=params.image_px,
            textures=params.textures,
            seed=params.seed,
            wrong_captions=params.wrong_captions,
            bad_files=params.bad_files,
        )
        for record in drawn:
            told = {"name": record.name, "truth": record.truth}
            yield _split(record.image, params, 0.0), record.image, record.caption, told
        for record in draw_test_records(
            params.num_test, px=params.image_px, textures=params.textures, seed=params.seed
        ):
            yield "test", record.image, record.caption, {"name": record.name, "truth": record.truth}
        return
    from components.engines.sources.captioned import read_captioned

    found = read_captioned(
        params.source,
        format=params.format,
        fields=params.fields.model_dump(),
        images=params.images,
        limit=params.limit,
        max_bytes=params.max_image_bytes,
        funnel=funnel,
        on_bad=bad.append,
    )
    for one in found:
        yield _split(one.image, params, params.test_fraction), one.image, one.caption, {"name": one.name}


def _split(image: bytes, params: ImageIngest, test_fraction: float) -> str:
    position = derive(params.seed, "split", hashlib.sha256(image).hexdigest()) % _SPLIT_UNIT / _SPLIT_UNIT
    if position < params.valid_fraction:
        return "valid"
    return "test" if position < params.valid_fraction + test_fraction else "train"


def _refuse_empty_splits(writers: dict[str, Any], params: ImageIngest) -> None:
    empty = [split for split, writer in writers.items() if not writer.shards]
    if empty:
        raise StageError(
            f"No images for {', '.join(empty)}",
            where=params.source,
            do="give more images or raise ingest.valid_fraction / test_fraction",
        )
