"""Captioned images from the scene painter or any source -> shards, as they were found, split into train, valid and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from components.engines.base.funnel import Funnel
from components.engines.base.params import Fraction, MaxBadFraction, Params, Positive
from components.engines.sources.splits import OnBad, split_of, write_splits
from components.engines.sources.text import Reading, TextLayout


class Fields(Params):
    """Which columns of the source hold what (left out: the column has our name)."""

    image: str = "image"
    caption: str = "caption"


class ImageIngest(Params):
    """Where captioned images come from and how they are split.

    With `each_caption` a list of captions makes one pair each. `images` is the folder or URL that paths in a table are relative
    to; null: where the table is. `num_*`, `image_px`, `textures`, `wrong_captions` and `bad_files` are for `source: sample`.
    """

    source: str = "sample"
    format: str | None = None
    fields: Fields = Fields()
    images: str | None = None
    each_caption: bool = False
    text: TextLayout = TextLayout()
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
    max_bad_fraction: MaxBadFraction = 0.05
    samples_per_shard: Annotated[int, Field(gt=0)] = 2_000
    seed: int = 0


def external_inputs(section: dict[str, Any], root: Path, digests: Any) -> dict[str, Any]:
    """What this section's source is read from: see base/external.py."""
    from components.engines.sources.captioned import captioned_inputs

    params = ImageIngest.model_validate(section)
    fields = params.fields.model_dump()
    return captioned_inputs(
        params.source,
        root,
        digests,
        format=params.format,
        fields=fields,
        images=params.images,
        reading=_reading(params),
    )


def ingest_images(params: ImageIngest, images: Path) -> None:
    """Read captioned images and write them as shards, undecoded.

    The sample world says itself what is for testing. Of other sources, an image's split follows from its bytes alone, so that
    copies never stand on both sides and adding data moves nothing.
    """
    from components.engines.captioned.dataset import Captioned

    def samples(funnel: Funnel, on_bad: OnBad) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, (split, image, caption, metadata) in enumerate(_found(params, funnel, on_bad)):
            yield split, Captioned(f"{number:08d}", image, caption, metadata).to_sample()

    write_splits(
        images,
        samples,
        what="images",
        source=params.source,
        section="ingest",
        samples_per_shard=params.samples_per_shard,
        max_bad_fraction=params.max_bad_fraction,
    )


def _found(params: ImageIngest, funnel: Funnel, on_bad: Any) -> Iterator[tuple[str, bytes, str, dict[str, Any]]]:
    """(split, image, caption, what else is metadata)"""
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
            metadata = {"name": record.name, "truth": record.truth}
            split = split_of(params.seed, _sha256(record.image), params.valid_fraction, 0.0)
            yield split, record.image, record.caption, metadata
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
        each_caption=params.each_caption,
        reading=_reading(params),
        limit=params.limit,
        max_bytes=params.max_image_bytes,
        funnel=funnel,
        on_bad=on_bad,
    )
    for one in found:
        split = split_of(params.seed, _sha256(one.image), params.valid_fraction, params.test_fraction)
        yield split, one.image, one.caption, {"name": one.name}


def _reading(params: ImageIngest) -> Reading:
    return Reading(params.text, ".".join(type(params).__module__.split(".")[-2:]))  # clip.ingest, as params.yaml has it


def _sha256(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()
