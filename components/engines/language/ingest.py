"""Examples of text from a sample world or any table -> shards, split into train, valid and test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from components.engines.base.external import SAMPLE
from components.engines.base.funnel import Funnel
from components.engines.base.params import Fraction, MaxBadFraction, Params, Positive
from components.engines.sources.splits import OnBad, split_of, write_splits
from components.engines.sources.text import Reading, TextLayout

Sample = Callable[[], Iterator[dict[str, Any]]]


class TextIngest(Params):
    """Where examples come from and how they are split. `fields` maps our names to columns; `num_*` are for `source: sample`."""

    source: str = SAMPLE
    format: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    text: TextLayout = TextLayout()
    limit: Positive | None = None
    num_train: Positive = 1_000
    num_test: Positive = 100
    valid_fraction: Fraction = 0.05
    test_fraction: Fraction = 0.1
    max_bad_fraction: MaxBadFraction = 0.05
    samples_per_shard: Positive = 5_000
    seed: int = 0


def external_inputs(section: dict[str, Any], root: Path, digests: Any) -> dict[str, Any]:
    """What this section's source is read from: see base/external.py."""
    from components.engines.sources.inputs import source_inputs

    return {"source": source_inputs(section["source"], section.get("format"), root)}


def ingest_texts(params: TextIngest, records: Path, names: Sequence[str], sample: Sample) -> None:
    """Read the texts of these fields and write them as shards.

    `sample` draws what `source: sample` stands for: texts by field, `split_hint` (`pool` or `test`), anything else is kept as
    what the source told; one without a text is quarantined. Of other sources a record's split follows from its first text
    alone, so that equal ones never stand on both sides and adding data moves nothing.
    """
    from components.engines.language.records import Record

    def samples(funnel: Funnel, on_bad: OnBad) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, record in enumerate(_found(params, names, sample, funnel, on_bad)):
            hint = record.pop("split_hint", None)
            texts = {name: record.pop(name) for name in names}
            yield _split(texts[names[0]], hint, params), Record(f"{number:08d}", texts, record).to_sample()

    write_splits(
        records,
        samples,
        what="records",
        source=params.source,
        section=_section(params),
        samples_per_shard=params.samples_per_shard,
        max_bad_fraction=params.max_bad_fraction,
    )


def _found(
    params: TextIngest, names: Sequence[str], sample: Sample, funnel: Funnel, on_bad: Any
) -> Iterator[dict[str, Any]]:
    if params.source == SAMPLE:
        for line, record in enumerate(itertools.islice(sample(), params.limit), start=1):
            absent = [name for name in names if record[name] is None]
            if absent:
                funnel.quarantine("missing field")
                on_bad({"reason": "missing field", "file": SAMPLE, "line": line, "detail": f"{absent[0]} is null"})
            else:
                yield record
        return
    from components.engines.sources.records import read_records

    yield from read_records(
        params.source,
        format=params.format,
        fields=params.fields,
        required=tuple(names),
        texts=tuple(names),
        limit=params.limit,
        reading=Reading(params.text, _section(params)),
        funnel=funnel,
        on_bad=on_bad,
    )


def _split(text: str, hint: str | None, params: TextIngest) -> str:
    if hint == "test":
        return "test"
    return split_of(params.seed, text, params.valid_fraction, params.test_fraction if hint is None else 0.0)


def _section(params: TextIngest) -> str:
    """As params.yaml has it: the stage's own model is a class of the stage's module."""
    return ".".join(type(params).__module__.split(".")[-2:])
