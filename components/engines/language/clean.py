"""Cleaning texts: normalise, drop what is empty or too long, drop copies and what leaks from testing into training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.engines.base.evidence import RecordFile, Reread
from components.engines.base.params import MaxBadFraction, MaxRejectedFraction, Params, Positive, Workers
from components.engines.base.paths import each_of_jsonl, write_json
from components.engines.base.stage import StageContext
from components.engines.text.normalization import normalise

if TYPE_CHECKING:
    from components.engines.language.records import Record


class TextCleaning(Params):
    """What a usable example looks like."""

    max_words: Positive = 200
    workers: Workers = 0
    max_bad_fraction: MaxBadFraction = 0.05
    max_rejected_fraction: MaxRejectedFraction = 0.5


class Repeats(Protocol):
    """Which examples are dropped because of others. Asked in turn, of test examples first: those are never the ones dropped."""

    def reason(self, one: Record, split: str) -> str | None:
        """Why this example is dropped, or None; it then counts for those that follow."""
        ...


def clean_texts(
    params: TextCleaning,
    context: StageContext,
    records: Path,
    cleaned: Path,
    cleaning: Path,
    *,
    check: Callable[[], TextCheck] | None = None,
    repeats: Repeats | None = None,
) -> None:
    """Check each example on its own (the shard map), then drop copies over all of them.

    `cleaned` holds the kept examples, with key, reason and texts of all others in `rejected.jsonl` and `quarantined.jsonl`;
    `cleaning` the counts by reason. A room with other rules gives its `check` and what `repeats` are.
    """
    from components.engines.shards.manifest import read_manifest
    from components.engines.shards.map_shards import map_shards

    checked = context.work / "checked"
    map_shards(
        check or partial(TextCheck, params),
        records,
        checked,
        work=context.work / "map",
        workers=params.workers,
        max_bad_fraction=params.max_bad_fraction,
    )
    _drop_copies(params, checked, cleaned, context.name, repeats or _Copies(checked))
    funnel = read_manifest(cleaned).funnel
    assert funnel is not None
    write_json(cleaning, {**funnel.as_dict(), "kept_fraction": funnel.kept / max(funnel.seen, 1)})


class TextCheck:
    """The checks that look at one example alone (a `Mapper` of the shard map)."""

    batch_size = 256

    def __init__(self, params: TextCleaning) -> None:
        self.params = params

    def decode(self, sample: dict[str, Any]) -> Record:
        from components.engines.base.errors import BadRecord
        from components.engines.language.records import Record

        try:
            found = Record.from_sample(sample)
        except (KeyError, ValueError) as error:
            raise BadRecord("no example of texts", str(error)) from None
        return Record(found.key, {name: normalise(text) for name, text in found.texts.items()}, found.meta)

    def apply(self, items: list[Record]) -> list[Any]:
        from components.engines.shards.map_shards import Rejected

        reasons = [self.reason_against(one.texts) for one in items]
        return [
            Rejected(reason, one.to_sample()) if reason else one.to_sample()
            for one, reason in zip(items, reasons, strict=True)
        ]

    def reason_against(self, texts: dict[str, str]) -> str | None:
        """Why these texts are no training material, or None."""
        from components.engines.text.language import count_words

        if not all(texts.values()):
            return "empty"
        return "too long" if max(map(count_words, texts.values())) > self.params.max_words else None


class _Copies:
    """Equal examples, and training examples whose first text is held out."""

    def __init__(self, checked: Path) -> None:
        from components.engines.language.records import Records

        self.held_out = {_first(one) for split in ("valid", "test") for one in Records(checked, split)}
        self.seen: set[tuple[str, ...]] = set()

    def reason(self, one: Record, split: str) -> str | None:
        texts = tuple(one.texts.values())
        if texts in self.seen:
            return "duplicate"
        self.seen.add(texts)
        return "held out" if split == "train" and _first(one) in self.held_out else None


def _drop_copies(params: TextCleaning, checked: Path, cleaned: Path, where: str, repeats: Repeats) -> None:
    """Write what is left after dropping what `repeats` names."""
    from components.engines.language.records import Records
    from components.engines.shards.manifest import read_manifest, write_manifest
    from components.engines.shards.writer import ShardWriter
    from components.engines.sources.splits import SPLITS

    manifest = read_manifest(checked)
    funnel = manifest.funnel
    assert funnel is not None
    do = f"look at the source, or set the params of {where.replace('-', '.')} that reject them"
    funnel.check_some_kept("texts", where=where, do=do, records=Reread(lambda: _rejected(checked)))
    shards = []
    with RecordFile(cleaned / "rejected.jsonl") as rejected:
        for row in _rejected(checked):
            rejected.append(row)
        for split in reversed(SPLITS):  # test first: its examples are never the ones dropped
            with ShardWriter(cleaned, split, max(shard.samples for shard in manifest.shards)) as writer:
                for one in Records(checked, split):
                    reason = repeats.reason(one, split)
                    if reason is None:
                        writer.write(one.to_sample())
                        continue
                    funnel.kept -= 1
                    funnel.rejected[reason] += 1
                    rejected.append({"key": one.key, "reason": reason, **one.texts})
            shards += writer.shards
    funnel.check(where=where, max_rejected_fraction=params.max_rejected_fraction, records=rejected)
    shutil.copyfile(checked / "quarantined.jsonl", cleaned / "quarantined.jsonl")
    write_manifest(cleaned, shards, funnel)


def _rejected(checked: Path) -> Iterator[dict[str, Any]]:
    """What the checks rejected: key, reason and the texts."""
    for row in each_of_jsonl(checked / "rejected.jsonl"):
        yield {"key": row["key"], "reason": row["reason"], **json.loads(row["fields"]["json"])}


def _first(one: Record) -> str:
    return next(iter(one.texts.values()))
