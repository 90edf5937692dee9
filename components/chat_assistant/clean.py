"""Cleaning: scrub personal data, drop copies, and drop from training whatever gives the test away."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from components.chat_assistant.ingest import KINDS
from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import read_json, write_json
from components.engines.base.stage import StageContext
from components.engines.language.clean import TextCheck, TextCleaning, clean_texts

if TYPE_CHECKING:
    from components.engines.language.records import Record

_SPACES, _LINES = re.compile(r"[^\S\n]+"), re.compile(r"\n{3,}")


class Clean(TextCleaning):
    """What a usable record looks like. What is personal is replaced by placeholders; `region` (ISO 3166) reads telephone numbers
    without a country's code.

    A training record is contaminated that holds `ngram` words of the test in a row (13 as for GPT-3, arXiv:2005.14165, appendix
    C), or asks a question of the test or the validation set.
    """

    max_words: Positive = 600
    region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "US"
    ngram: Annotated[int, Field(ge=4)] = 13


def clean(params: Clean, context: StageContext, records: Path, cleaned: Path, cleaning: Path) -> None:
    """Write the usable records of each kind, and the counts of all others by kind and reason."""
    leaks = Leaks(records, params.ngram)
    counts = {}
    for kind in KINDS:
        work = context.work / kind
        work.mkdir(parents=True, exist_ok=True)
        clean_texts(
            params,
            replace(context, work=work),
            records / kind,
            cleaned / kind,
            cleaning,
            check=partial(DialogueCheck, params),
            repeats=Repeats(leaks),
        )
        counts[kind] = read_json(cleaning) | _dirt(records / kind, cleaned / kind)
    write_json(cleaning, counts)


class DialogueCheck(TextCheck):
    """Normalises the texts of a record and puts placeholders for what is personal; lines stay lines."""

    params: Clean

    def decode(self, sample: dict[str, Any]) -> Record:
        from components.engines.language.records import Record
        from components.engines.text.pseudonyms import anonymous

        found = Record.from_sample(sample)
        texts = {name: anonymous(tidy(text), self.params.region, set()) for name, text in found.texts.items()}
        return Record(found.key, texts, found.meta)

    def reason_against(self, texts: dict[str, str]) -> str | None:
        if "chosen" in texts and texts["chosen"] == texts["rejected"]:
            return "chosen equals rejected"  # once they are normalised
        return super().reason_against(texts)


def tidy(text: str) -> str:
    """NFC, no control characters, single spaces, at most one empty line: code and steps keep their lines."""
    from components.engines.text.normalization import normalise

    lines = [normalise(line) for line in text.replace("\r\n", "\n").split("\n")]
    return _LINES.sub("\n\n", "\n".join(lines)).strip()


class Leaks:
    """What of the test is looked for in training records of every kind."""

    def __init__(self, records: Path, ngram: int) -> None:
        from components.engines.language.records import Records

        self.ngram = ngram
        self.shingles: set[tuple[str, ...]] = set()
        self.questions: set[str] = set()
        for kind in ("conversations", "preferences"):
            for one in Records(records / kind, "test"):
                self.shingles |= self._shingles(one.texts)
            for split in ("valid", "test"):
                self.questions |= {question(one.texts) for one in Records(records / kind, split)}

    def reason(self, texts: dict[str, str]) -> str | None:
        asked = {_plain(text) for name, text in texts.items() if name.endswith(" user")}
        if asked & self.questions:
            return "held out"
        return "contaminated" if self._shingles(texts) & self.shingles else None

    def _shingles(self, texts: dict[str, str]) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", " ".join(texts.values()).casefold())
        return {tuple(words[start : start + self.ngram]) for start in range(len(words) - self.ngram + 1)}


class Repeats:
    """Equal records, and training records that give the test away."""

    def __init__(self, leaks: Leaks) -> None:
        self.leaks = leaks
        self.seen: set[tuple[str, ...]] = set()

    def reason(self, one: Record, split: str) -> str | None:
        texts = tuple(one.texts.values())
        if texts in self.seen:
            return "duplicate"
        self.seen.add(texts)
        # requests are labelled by what is asked for: how it is asked is what the test keeps for itself
        return self.leaks.reason(one.texts) if split == "train" and "category" not in one.meta else None


def question(texts: dict[str, str]) -> str:
    """The last question of a record, in plain words."""
    return _plain([text for name, text in texts.items() if name.endswith(" user")][-1])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _dirt(records: Path, cleaned: Path) -> dict[str, float]:
    """The share of the sample world's dirt that would have been learnt and was caught; what is personal is not dropped but
    replaced."""
    from components.engines.language.records import Records

    kept = {one.key for one in Records(cleaned, "train")}
    found: dict[str, list[bool]] = {}
    for one in Records(records, "train"):
        if (dirt := one.meta.get("dirt")) and dirt != "personal":
            found.setdefault(f"dirt_recall_{dirt.replace(' ', '_')}", []).append(one.key not in kept)
    return {name: sum(caught) / len(caught) for name, caught in found.items()}


if __name__ == "__main__":
    stage.main(clean)
