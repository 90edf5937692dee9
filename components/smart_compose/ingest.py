"""Mails from the sample world or any source -> shards without personal data, split by sender into train, valid and test.

Placeholders are put in here, where mails are read, because what a stage writes is kept (DVC's cache): none is stored raw.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.funnel import Funnel
from components.engines.base.params import Fraction, MaxBadFraction, Params, Positive
from components.engines.sources.splits import SPLITS, OnBad, split_of, write_splits
from components.engines.sources.text import Reading, TextLayout
from components.engines.text.pseudonyms import anonymous, names_in
from components.smart_compose.architecture import Personal

TEXTS, PEOPLE = ("subject", "previous", "body"), ("sender", "recipients")
LABELS = ("dirt", "combination", "canary", "attachments")  # what the source tells that is nobody's


class Ingest(Params):
    """Where mails come from. `fields` maps subject, sender, recipients, previous and body to columns of a table; a TXT file is
    one mail, or one a paragraph (`text_unit`). `num_*` and `dirt_fraction` are for `source: sample`.
    """

    source: str = "sample"
    format: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    text_unit: Literal["file", "paragraph"] = "file"
    text: TextLayout = TextLayout()
    limit: Positive | None = None
    num_train: Positive = 6_000
    num_test: Positive = 400
    dirt_fraction: Fraction = 0.05
    valid_fraction: Fraction = 0.08
    test_fraction: Fraction = 0.1
    max_bad_fraction: MaxBadFraction = 0.05
    samples_per_shard: Positive = 5_000
    seed: int = 0


def external_inputs(section: dict[str, Any], root: Path, digests: Any) -> dict[str, Any]:
    """What this section's source is read from: see base/external.py."""
    from components.engines.sources.mail import mail_inputs

    params = Ingest.model_validate(section)
    return {"source": mail_inputs(params.source, params.format, root)}


def ingest(params: Ingest, personal: Personal, mails: Path) -> None:
    """Write the mails of the source: texts `subject`, `previous` and `body` with placeholders, people as numbers."""
    from components.engines.language.records import Record
    from components.engines.text.pseudonyms import Pseudonyms

    if personal.keep and params.source != "sample":
        raise UsageError(
            "What is personal in real mails is never written",
            where=params.source,
            do="set smart_compose.personal.keep to false: it is for comparisons on the sample world",
        )
    people = Pseudonyms()

    def samples(funnel: Funnel, on_bad: OnBad) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, mail in enumerate(_mails(params, funnel, on_bad)):
            meta = {name: people.of(mail[name]) for name in PEOPLE}
            meta |= {name: mail[name] for name in LABELS if name in mail}
            yield _split(params, mail), Record(f"{number:08d}", _texts(personal, mail), meta).to_sample()

    write_splits(
        mails,
        samples,
        what="mails",
        source=params.source,
        section="smart_compose.ingest",
        samples_per_shard=params.samples_per_shard,
        max_bad_fraction=params.max_bad_fraction,
    )


def _mails(params: Ingest, funnel: Funnel, on_bad: Any) -> Iterator[dict[str, Any]]:
    """Raw mails: a text for each of TEXTS and PEOPLE, empty where the source has none, and the world's labels."""
    found: Iterator[dict[str, Any]]
    if params.source == "sample":
        from components.smart_compose.world.mails import draw_mails

        drawn = draw_mails(params.num_train, params.num_test, params.dirt_fraction, params.seed)
        found = itertools.islice(drawn, params.limit)
    else:
        from components.engines.sources.mail import read_mails

        found = read_mails(
            params.source,
            format=params.format,
            fields=params.fields,
            text_unit=params.text_unit,
            limit=params.limit,
            reading=Reading(params.text, "smart_compose.ingest"),
            funnel=funnel,
            # What cannot be read cannot be freed of what is personal: only its place and the reason are kept.
            on_bad=lambda bad: on_bad({**bad, "file": anonymous(bad["file"], "US", set()), "detail": ""}),
        )
    yield from ({**dict.fromkeys((*TEXTS, *PEOPLE), ""), **mail} for mail in found)


def _texts(personal: Personal, mail: dict[str, Any]) -> dict[str, str]:
    if personal.keep:
        return {name: mail[name] for name in TEXTS}
    names = names_in(mail["sender"]) | names_in(mail["recipients"])
    return {name: anonymous(mail[name], personal.region, names) for name in TEXTS}


def _split(params: Ingest, mail: dict[str, Any]) -> str:
    """By sender, so that nobody's habits are both learnt and tested; a text without a sender stands for itself."""
    if (hint := mail.get("split_hint")) in SPLITS:
        return str(hint)
    sender = mail["sender"].casefold() or mail["body"]
    return split_of(params.seed, sender, params.valid_fraction, 0.0 if hint else params.test_fraction)


if __name__ == "__main__":
    stage.main(ingest)
