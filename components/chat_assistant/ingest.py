"""Texts, conversations, preferences and labelled requests, from the sample world or any source -> shards of each kind, split.

What cannot be used is quarantined with a reason, as the layouts (engines/language/layouts.py) and the rules of a conversation
(engines/language/dialogues.py) have it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from components.chat_assistant.architecture import Kept, Source
from components.engines.base import stage
from components.engines.base.errors import BadRecord
from components.engines.base.external import SAMPLE
from components.engines.base.funnel import Funnel
from components.engines.base.params import Fraction, MaxBadFraction, Positive
from components.engines.sources.splits import SPLITS, OnBad, split_of, write_splits
from components.engines.sources.text import Reading, TextLayout

KINDS = ("texts", "conversations", "preferences", "requests")


class Ingest(Kept):
    """Where each kind of record comes from. `test` is a source of conversations that are all for the test. `num_*` and
    `dirt_fraction` are for `source: sample`.

    Requests are rows of `prompt`, `category` (`harmless`, or what kind of harm) and perhaps `response`.
    """

    texts: Source = Source()
    conversations: Source = Source()
    preferences: Source = Source()
    requests: Source = Source()
    test: Source | None = None
    text: TextLayout = TextLayout()
    num_texts: Positive = 6_000
    num_conversations: Positive = 12_000
    num_preferences: Positive = 20_000
    num_requests: Positive = 10_000
    dirt_fraction: Fraction = 0.04
    max_bad_fraction: MaxBadFraction = 0.1
    samples_per_shard: Positive = 5_000


def ingest(params: Ingest, records: Path) -> None:
    """Write a folder of shards for each of KINDS."""
    for kind in KINDS:
        write_splits(
            records / kind,
            partial(_samples, params, kind),
            what=kind,
            source=getattr(params, kind).source,
            section="chat_assistant.ingest",
            samples_per_shard=params.samples_per_shard,
            max_bad_fraction=params.max_bad_fraction,
        )


def _samples(params: Ingest, kind: str, funnel: Funnel, on_bad: OnBad) -> Iterator[tuple[str, dict[str, Any]]]:
    from components.engines.language.records import Record

    ids: set[str] = set()
    sources = [(getattr(params, kind), None)] + (
        [(params.test, "test")] if kind == "conversations" and params.test else []
    )
    numbers = itertools.count()
    for source, hint in sources:
        for place, row in enumerate(_rows(params, kind, source, funnel, on_bad), start=1):
            try:
                texts, meta = read_row(kind, row)
                _refuse_again(row.get("id"), ids)
            except BadRecord as bad:
                funnel.quarantine(bad.reason)
                on_bad({"reason": bad.reason, "file": source.source, "line": place, "detail": bad.detail})
                continue
            split = row.get("split_hint") or hint
            if split not in SPLITS:
                split = split_of(params.seed, identity(texts), params.valid_fraction, params.test_fraction)
            yield split, Record(f"{kind}-{next(numbers):08d}", texts, meta).to_sample()


def _rows(params: Ingest, kind: str, source: Source, funnel: Funnel, on_bad: OnBad) -> Iterator[dict[str, Any]]:
    if source.source == SAMPLE:
        from components.chat_assistant.world import draw

        drawn: Callable[..., Iterator[dict[str, Any]]] = getattr(draw, kind)
        yield from itertools.islice(
            drawn(getattr(params, f"num_{kind}"), params.dirt_fraction, params.seed), source.limit
        )
        return
    from components.engines.sources.records import read_records

    yield from read_records(
        source.source,
        format=source.format,
        fields={},
        limit=source.limit,
        reading=Reading(params.text, "chat_assistant.ingest"),
        funnel=funnel,
        on_bad=on_bad,
    )


def read_row(kind: str, row: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """A row's texts by name, and what it tells besides. Raises BadRecord."""
    from components.engines.language.dialogues import Dialogue, checked
    from components.engines.language.layouts import conversation_of, preference_of, text_in
    from components.engines.sources.rows import text_of

    known: dict[str, Any] = {
        name: row[name] for name in ("task", "right", "dirt", "flipped", "held_out") if name in row
    }
    if kind == "texts":
        return {"text": text_in(row)}, known
    if kind == "conversations":
        return conversation_of(row).texts(), known
    if kind == "preferences":
        found = preference_of(row)
        return found.texts(), known | {"margin": found.margin}
    prompt, category = (text_of(row.get(name), name) for name in ("prompt", "category"))
    said = [{"role": "user", "content": prompt}]
    if (response := row.get("response")) is not None:
        said.append({"role": "assistant", "content": text_of(response, "response")})
    texts = Dialogue(checked(said, said[-1]["role"])).texts()
    return texts, known | {"category": category}


def identity(texts: dict[str, str]) -> str:
    """What says where a record goes: the last question that is asked in it, or its text."""
    asked = [text for name, text in texts.items() if name.endswith(" user")]
    return " ".join((asked[-1] if asked else texts["text"]).casefold().split())


def _refuse_again(id: Any, ids: set[str]) -> None:
    """Of records with one id the first stands."""
    if id is None:
        return
    if str(id) in ids:
        raise BadRecord("duplicate id", str(id)[:80])
    ids.add(str(id))


if __name__ == "__main__":
    stage.main(ingest)
