"""Sentence pairs from the sample grammar or any tabular source -> shards, split into train, valid and test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.errors import StageError
from components.engines.base.funnel import Funnel
from components.engines.base.params import Fraction, Params, Positive
from components.engines.base.paths import write_jsonl
from components.engines.base.seeds import derive

LABELS = ("dirt", "combination")  # what the sample grammar says of its own pairs
_SPLIT_UNIT = 1_000_000


class Fields(Params):
    """Which columns of the source hold what (left out: the column has our name)."""

    source: str = "source"
    target: str = "target"


class Ingest(Params):
    """Where sentence pairs come from and how they are split. `num_*` and `dirt_fraction` are for `source: sample`."""

    source: str = "sample"
    format: str | None = None
    fields: Fields = Fields()
    limit: Positive | None = None
    num_train: Positive = 20_000
    num_test: Positive = 500
    dirt_fraction: Fraction = 0.08
    valid_fraction: Fraction = 0.02
    test_fraction: Fraction = 0.1
    max_bad_fraction: Fraction = 0.05
    samples_per_shard: Positive = 5_000
    seed: int = 0


def ingest(params: Ingest, pairs: Path) -> None:
    """Read sentence pairs and write them as shards.

    The sample grammar says itself which sentences are for testing. Of other sources, a pair's split follows from its source
    sentence alone, so equal sentences never stand on both sides and adding data moves no pair.
    """
    from components.engines.shards.manifest import write_manifest
    from components.engines.shards.writer import ShardWriter
    from components.translation.pairs import SPLITS, Pair

    funnel = Funnel()
    bad: list[dict[str, Any]] = []
    writers = {split: ShardWriter(pairs, split, params.samples_per_shard) for split in SPLITS}
    with ExitStack() as opened:
        for writer in writers.values():
            opened.enter_context(writer)
        for number, record in enumerate(_records(params, funnel, bad.append)):
            meta: dict[str, Any] = {name: record[name] for name in LABELS if name in record}
            pair = Pair(f"{number:08d}", str(record["source"]), str(record["target"]), meta)
            writers[_split(record, params)].write(pair.to_sample())
            funnel.keep()
    funnel.check(where=params.source, max_bad_fraction=params.max_bad_fraction)
    _refuse_empty_splits(writers, params)
    write_jsonl(pairs / "quarantined.jsonl", bad)
    write_manifest(pairs, [shard for writer in writers.values() for shard in writer.shards], funnel)


def _records(params: Ingest, funnel: Funnel, on_bad: Any) -> Iterator[dict[str, Any]]:
    if params.source != "sample":
        from components.engines.sources.records import read_records

        yield from read_records(
            params.source,
            format=params.format,
            fields=params.fields.model_dump(),
            required=("source", "target"),
            limit=params.limit,
            funnel=funnel,
            on_bad=on_bad,
        )
        return
    from components.translation.grammar import draw_pairs, with_dirt

    drawn = with_dirt(draw_pairs(params.num_train, params.num_test, params.seed), params.dirt_fraction, params.seed)
    for line, record in enumerate(itertools.islice(drawn, params.limit), start=1):
        if record["target"] is None:
            funnel.quarantine("missing field")
            on_bad({"reason": "missing field", "file": "sample", "line": line, "detail": "target is null"})
        else:
            yield record


def _split(record: dict[str, Any], params: Ingest) -> str:
    if record.get("split_hint") == "test":
        return "test"
    position = derive(params.seed, "split", record["source"]) % _SPLIT_UNIT / _SPLIT_UNIT
    if position < params.valid_fraction:
        return "valid"
    if "split_hint" not in record and position < params.valid_fraction + params.test_fraction:
        return "test"
    return "train"


def _refuse_empty_splits(writers: dict[str, Any], params: Ingest) -> None:
    empty = [split for split, writer in writers.items() if not writer.shards]
    if empty:
        raise StageError(
            f"No pairs for {', '.join(empty)}",
            where=params.source,
            do="give more pairs or raise translation.ingest.valid_fraction / test_fraction",
        )


if __name__ == "__main__":
    stage.main(ingest)
