"""Which split a record goes to, the shards of the splits that an ingest writes, and a stop where one gets none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError
from components.engines.base.evidence import RecordFile
from components.engines.base.funnel import Funnel
from components.engines.base.seeds import derive

SPLITS = ("train", "valid", "test")
_UNIT = 1_000_000

OnBad = Callable[[dict[str, Any]], None]


def split_of(seed: int, identity: str, valid_fraction: float, test_fraction: float) -> str:
    """`train`, `valid` or `test`: a function of seed and identity, so that equal records never part."""
    position = derive(seed, "split", identity) % _UNIT / _UNIT
    if position < valid_fraction:
        return "valid"
    return "test" if position < valid_fraction + test_fraction else "train"


def write_splits(
    folder: Path,
    found: Callable[[Funnel, OnBad], Iterator[tuple[str, dict[str, Any]]]],
    *,
    what: str,
    source: str,
    section: str,
    samples_per_shard: int,
    max_bad_fraction: float,
) -> None:
    """Write shards of every split, their manifest, and `quarantined.jsonl` with what `found` could not use.

    `found` counts and hands over what it quarantines, and yields (split, sample) for the rest. Raises StageError where too much
    is quarantined, nothing is left or a split stays empty: `what` (a plural) and `section` (of params) are for its words.
    """
    from components.engines.shards.manifest import write_manifest
    from components.engines.shards.writer import ShardWriter

    funnel, quarantined = Funnel(), RecordFile(folder / "quarantined.jsonl")
    writers = {split: ShardWriter(folder, split, samples_per_shard) for split in SPLITS}
    with ExitStack() as opened:
        opened.enter_context(quarantined)
        for writer in writers.values():
            opened.enter_context(writer)
        for split, sample in found(funnel, quarantined.append):
            writers[split].write(sample)
            funnel.keep()
    funnel.check(where=source, max_bad_fraction=max_bad_fraction, records=quarantined)
    funnel.check_some_kept(what, where=source, do="look at the source and at `fields`", records=quarantined)
    _refuse_empty(writers, what, source, section)
    write_manifest(folder, [shard for writer in writers.values() for shard in writer.shards], funnel)


def _refuse_empty(writers: Mapping[str, Any], what: str, source: str, section: str) -> None:
    """Raises StageError where a split's ShardWriter has written nothing."""
    empty = [split for split, writer in writers.items() if not writer.shards]
    if empty:
        raise StageError(
            f"No {what} for {', '.join(empty)}",
            where=source,
            do=f"give more {what} or raise {section}.valid_fraction / test_fraction",
        )
