"""Captioned clips from the sample world or any source -> shards, as they were found, split into train, valid and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.funnel import Funnel
from components.engines.base.params import Count, Fraction, MaxBadFraction, Params, Positive
from components.engines.sources.splits import OnBad, split_of, write_splits
from components.engines.sources.text import Reading, TextLayout


class Fields(Params):
    """Which columns of the source hold what; null: there are no captions."""

    clip: str = "clip"
    caption: str | None = "caption"


class Ingest(Params):
    """Where clips come from and how they are split.

    `clips` is the folder or URL that paths in a table are relative to; null: where the table is. `num_*` and the shares of bad
    and odd files and of dirt are for `source: sample`.
    """

    source: str = "sample"
    format: str | None = None
    fields: Fields = Fields()
    clips: str | None = None
    text: TextLayout = TextLayout()
    limit: Positive | None = None
    max_clip_bytes: Positive = 500_000_000
    num_train: Positive = 3_000
    num_stills: Count = 1_000
    num_test: Positive = 300
    bad_files: Fraction = 0.04
    odd_files: Fraction = 0.06
    dirt: Fraction = 0.18
    valid_fraction: Fraction = 0.05
    test_fraction: Fraction = 0.1
    max_bad_fraction: MaxBadFraction = 0.05
    samples_per_shard: Positive = 500
    seed: int = 0


def external_inputs(section: dict[str, Any], root: Path, digests: Any) -> dict[str, Any]:
    """What this section's source is read from: see base/external.py."""
    from components.engines.sources.captioned import CLIPS, captioned_inputs

    params = Ingest.model_validate(section)
    found = captioned_inputs(
        params.source,
        root,
        digests,
        format=params.format,
        fields=_fields(params),
        images=params.clips,
        reading=_reading(params),
        medium=CLIPS,
    )
    return {"clips" if name == "images" else name: inputs for name, inputs in found.items()}


def ingest(params: Ingest, clips: Path) -> None:
    """Write the clips as shards, undecoded. The sample world says itself what is for testing; of other sources a clip's split
    follows from its bytes, so that copies never stand on both sides."""
    from components.engines.videos.dataset import Video

    def samples(funnel: Funnel, on_bad: OnBad) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, (split, clip, caption, metadata) in enumerate(_found(params, funnel, on_bad)):
            yield split, Video(f"{number:08d}", clip, caption, metadata).to_sample()

    write_splits(
        clips,
        samples,
        what="clips",
        source=params.source,
        section="ingest",
        samples_per_shard=params.samples_per_shard,
        max_bad_fraction=params.max_bad_fraction,
    )


def _found(params: Ingest, funnel: Funnel, on_bad: Any) -> Iterator[tuple[str, bytes, str, dict[str, Any]]]:
    """(split, clip, caption, what else is metadata)"""
    if params.source == "sample":
        yield from _drawn(params)
        return
    from components.engines.sources.captioned import CLIPS, read_captioned

    found = read_captioned(
        params.source,
        format=params.format,
        fields=_fields(params),
        images=params.clips,
        reading=_reading(params),
        limit=params.limit,
        max_bytes=params.max_clip_bytes,
        medium=CLIPS,
        funnel=funnel,
        on_bad=on_bad,
    )
    for one in found:
        split = split_of(params.seed, _sha256(one.image), params.valid_fraction, params.test_fraction)
        yield split, one.image, one.caption, {"name": one.name}


def _drawn(params: Ingest) -> Iterator[tuple[str, bytes, str, dict[str, Any]]]:
    from itertools import chain

    from components.text_to_video.world.records import draw_records, draw_stills, draw_test_records

    count = min(params.num_train, params.limit or params.num_train)
    shares = {"bad_files": params.bad_files, "odd_files": params.odd_files, "dirt": params.dirt}
    learnt = chain(
        draw_records(count, seed=params.seed, **shares),
        draw_stills(params.num_stills, seed=params.seed),
    )
    for record in learnt:
        split = split_of(params.seed, _sha256(record.clip), params.valid_fraction, 0.0)
        yield split, record.clip, record.caption, {"name": record.name, "truth": record.truth}
    for record in draw_test_records(params.num_test, seed=params.seed):
        yield "test", record.clip, record.caption, {"name": record.name, "truth": record.truth}


def _fields(params: Ingest) -> dict[str, str]:
    return {name: column for name, column in params.fields.model_dump().items() if column is not None}


def _reading(params: Ingest) -> Reading:
    return Reading(params.text, "text_to_video.ingest")


def _sha256(clip: bytes) -> str:
    return hashlib.sha256(clip).hexdigest()


if __name__ == "__main__":
    stage.main(ingest)
