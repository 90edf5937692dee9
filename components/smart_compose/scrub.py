"""Scrubbing: what is not the writer's is cut, what is still personal is replaced, copies and leaks into training are dropped."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base import stage
from components.engines.base.params import Fraction, Positive
from components.engines.base.paths import read_json, write_json
from components.engines.base.stage import StageContext
from components.engines.language.clean import TextCheck, TextCleaning, clean_texts
from components.engines.text.copies import NearCopies
from components.engines.text.mail import unwrapped, written
from components.engines.text.normalization import normalise
from components.engines.text.pii import PLACEHOLDERS
from components.engines.text.pseudonyms import anonymous
from components.smart_compose.architecture import Personal

if TYPE_CHECKING:
    from components.engines.language.records import Record


class Scrub(TextCleaning):
    """What a usable mail looks like.

    Mails of one sender that share `near_duplicate` of their shingles of words are copies; from `long_words` on, mails of anybody.
    Shorter ones are alike because people write alike: what they write how often is what is to be learnt.
    """

    min_words: Positive = 3
    near_duplicate: Fraction = 0.9
    long_words: Positive = 60


def scrub(
    params: Scrub, personal: Personal, context: StageContext, mails: Path, cleaned: Path, scrubbing: Path
) -> None:
    """Write the usable mails, what its writer wrote as `body` and what that answers as `previous`; and the counts of all else."""
    clean_texts(
        params, context, mails, cleaned, scrubbing, check=partial(MailCheck, params, personal), repeats=Repeats(params)
    )
    write_json(scrubbing, read_json(scrubbing) | _counts(mails, cleaned))


class MailCheck(TextCheck):
    """Cuts a mail to what its writer wrote, and looks at what is left of it."""

    def __init__(self, params: Scrub, personal: Personal) -> None:
        super().__init__(params)
        self.min_words, self.personal = params.min_words, personal

    def decode(self, sample: dict[str, Any]) -> Record:
        from components.engines.language.records import Record

        found = Record.from_sample(sample)
        own = written(found.texts["body"])
        previous = unwrapped(found.texts["previous"].split("\n")) or own.previous
        texts = {"subject": normalise(found.texts["subject"]), "previous": previous, "body": own.body}
        if not self.personal.keep:  # once more: what a line end had torn apart is whole now
            texts = {name: anonymous(text, self.personal.region, set()) for name, text in texts.items()}
        return Record(found.key, texts, found.meta | {"cut": list(own.cut)})

    def reason_against(self, texts: dict[str, str]) -> str | None:
        from components.engines.text.language import count_words

        if not texts["body"]:
            return "nothing of the writer's own"
        words = count_words(texts["body"])
        if words < self.min_words:
            return "too short"
        return "too long" if words > self.params.max_words else None


class Repeats:
    """Mails that nearly repeat an earlier one."""

    def __init__(self, params: Scrub) -> None:
        self.copies, self.long_words = NearCopies(params.near_duplicate), params.long_words

    def reason(self, one: Record, split: str) -> str | None:
        body = one.texts["body"]
        sender = "" if len(body.split()) >= self.long_words else " ".join(one.meta["sender"])
        original = self.copies.original(one.key, "\n".join([one.texts["subject"], one.texts["previous"], body]), sender)
        return None if original is None else "duplicate"


def _counts(mails: Path, cleaned: Path) -> dict[str, Any]:
    """What was replaced in all mails and cut from those kept, by kind, and the share of the sample world's dirt caught."""
    from components.engines.language.records import Records
    from components.engines.sources.splits import SPLITS

    pattern = re.compile("|".join(PLACEHOLDERS))
    kept, cut = set[str](), Counter[str]()
    for one in (one for split in SPLITS for one in Records(cleaned, split)):
        kept.add(one.key)
        cut.update(one.meta["cut"])
    placed, dirty, caught = Counter[str](), Counter[str](), Counter[str]()
    for one in (one for split in SPLITS for one in Records(mails, split)):
        for text in one.texts.values():
            placed.update(pattern.findall(text))
        if dirt := one.meta.get("dirt"):
            dirty[dirt] += 1
            caught[dirt] += one.key not in kept
    counts: dict[str, Any] = {"placeholders": dict(sorted(placed.items())), "cut": dict(sorted(cut.items()))}
    if dirty:
        counts["dirt_recall"] = caught.total() / dirty.total()
        counts["dirt_recall_by_kind"] = {kind: caught[kind] / count for kind, count in sorted(dirty.items())}
    return counts


if __name__ == "__main__":
    stage.main(scrub)
