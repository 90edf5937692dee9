"""Cleaning: normalise, drop what is no translation, drop duplicates and what leaks from the test split into training."""

from __future__ import annotations

import shutil
import unicodedata
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import Count, Fraction, Params, Positive
from components.engines.base.paths import read_jsonl, write_json, write_jsonl
from components.engines.base.stage import StageContext

if TYPE_CHECKING:
    from components.translation.pairs import Pair

MIN_COPIED_WORDS = 3  # shorter equal pairs are names and numbers, which translate to themselves
SURE, SURE_WORDS = 0.99, 6  # the identifier's confidence and the length from which a wrong language is believed
SHORT_WORDS = 3  # below this a length ratio says nothing


class Clean(Params):
    """What a usable pair looks like. Languages are ISO 639-1 codes to check, scripts Unicode script names; null: no check."""

    max_length_ratio: Annotated[float, Field(ge=1)] = 2.5
    max_words: Positive = 200
    source_language: str | None = None
    target_language: str | None = None
    source_script: str | None = None
    target_script: str | None = None
    workers: Count = 0
    max_bad_fraction: Fraction = 0.05


def clean(params: Clean, context: StageContext, pairs: Path, cleaned: Path, cleaning: Path) -> None:
    """Filter each pair on its own (the shard map), then drop duplicates over all of them.

    `cleaned` holds the kept pairs with `rejected.jsonl` (key, reason, texts); `cleaning` the counts by reason and, where
    the source labels its dirt, how much of it was caught and how much that was caught was dirt.
    """
    from components.engines.shards.manifest import read_manifest
    from components.engines.shards.map import map_shards

    filtered = context.work / "filtered"
    map_shards(
        partial(PairFilter, params),
        pairs,
        filtered,
        work=context.work / "map",
        workers=params.workers,
        max_bad_fraction=params.max_bad_fraction,
    )
    _drop_repeats(filtered, cleaned)
    books = read_manifest(cleaned).funnel
    assert books is not None
    kept_fraction = books.kept / max(books.seen, 1)
    write_json(cleaning, {**books.as_dict(), "kept_fraction": kept_fraction, **_dirt(pairs, cleaned)})


class PairFilter:
    """The checks that look at one pair alone (a `Mapper` of the shard map)."""

    batch_size = 256

    def __init__(self, params: Clean) -> None:
        self.params = params

    def decode(self, sample: dict[str, Any]) -> Pair:
        from components.engines.base.errors import BadRecord
        from components.translation.pairs import Pair

        try:
            pair = Pair.from_sample(sample)
        except (KeyError, ValueError) as error:
            raise BadRecord("not a sentence pair", str(error)) from None
        return Pair(pair.key, normalise(pair.source), normalise(pair.target), pair.meta)

    def apply(self, items: list[Pair]) -> list[Any]:
        from components.engines.shards.map import Rejected

        results: list[Any] = []
        for pair in items:
            reason = self.reason_against(pair)
            results.append(Rejected(reason, pair.to_sample()) if reason else pair.to_sample())
        return results

    def reason_against(self, pair: Pair) -> str | None:
        """Why this pair is no training material, or None."""
        source_words, target_words = len(pair.source.split()), len(pair.target.split())
        if not source_words or not target_words:
            return "empty"
        if max(source_words, target_words) > self.params.max_words:
            return "too long"
        if pair.source == pair.target and source_words >= MIN_COPIED_WORDS:
            return "copied"
        longer, shorter = max(source_words, target_words), min(source_words, target_words)
        if longer > SHORT_WORDS and longer > self.params.max_length_ratio * shorter:
            return "length ratio"
        return self._wrong_language(pair)

    def _wrong_language(self, pair: Pair) -> str | None:
        params = self.params
        for text, script in ((pair.source, params.source_script), (pair.target, params.target_script)):
            if script and not in_script(text, script):
                return "wrong script"
        for text, code in ((pair.source, params.source_language), (pair.target, params.target_language)):
            if code and is_other_language(text, code):
                return "wrong language"
        return None


def is_other_language(text: str, code: str) -> bool:
    """Whether a text is surely not in the language `code`; of short texts nothing is sure."""
    from components.engines.sources.language import guess_language

    if len(text.split()) < SURE_WORDS:
        return False
    guessed, confidence = guess_language(text)
    return guessed != code and confidence >= SURE


def normalise(text: str) -> str:
    """Unicode NFC, control characters out, runs of white space as one space."""
    composed = unicodedata.normalize("NFC", text)
    printable = "".join(" " if unicodedata.category(character) == "Cc" else character for character in composed)
    return " ".join(printable.split())


def in_script(text: str, script: str) -> bool:
    """Whether most letters belong to a script, by the first word of their Unicode names (`LATIN`, `CYRILLIC`, `CJK`)."""
    letters = [character for character in text if character.isalpha()]
    inside = sum(unicodedata.name(letter, "").startswith(script.upper()) for letter in letters)
    return inside * 2 >= len(letters)


def _drop_repeats(filtered: Path, cleaned: Path) -> None:
    """Write what is left after dropping repeated pairs, and training pairs whose source sentence is held out."""
    from components.engines.shards.manifest import read_manifest, write_manifest
    from components.engines.shards.writer import ShardWriter
    from components.translation.pairs import SPLITS, Pairs

    books = read_manifest(filtered)
    assert books.funnel is not None
    funnel, per_shard = books.funnel, max(shard.samples for shard in books.shards)
    held_out = {pair.source for split in ("valid", "test") for pair in Pairs(filtered, split)}
    seen: set[tuple[str, str]] = set()
    repeats, shards = [], []
    for split in reversed(SPLITS):  # test first: its pairs are never the ones dropped
        with ShardWriter(cleaned, split, per_shard) as writer:
            for pair in Pairs(filtered, split):
                reason = _repeats(pair, split, seen, held_out)
                seen.add((pair.source, pair.target))
                if reason is None:
                    writer.write(pair.to_sample())
                    continue
                funnel.kept -= 1
                funnel.rejected[reason] += 1
                repeats.append({"key": pair.key, "reason": reason, "source": pair.source, "target": pair.target})
        shards += writer.shards
    write_jsonl(cleaned / "rejected.jsonl", [*read_jsonl(filtered / "rejected.jsonl"), *repeats])
    shutil.copyfile(filtered / "quarantined.jsonl", cleaned / "quarantined.jsonl")
    funnel.check(where="translation-clean")
    write_manifest(cleaned, shards, funnel)


def _repeats(pair: Pair, split: str, seen: set[tuple[str, str]], held_out: set[str]) -> str | None:
    if (pair.source, pair.target) in seen:
        return "duplicate"
    return "held out" if split == "train" and pair.source in held_out else None


def _dirt(pairs: Path, cleaned: Path) -> dict[str, Any]:
    """Share of the labelled dirt that was caught, by kind, and share of the caught that was dirt (sample grammar only)."""
    from components.translation.pairs import SPLITS, Pairs

    before = [pair for split in SPLITS for pair in Pairs(pairs, split)]
    if not any("dirt" in pair.meta for pair in before):
        return {}
    kept = {pair.key for split in SPLITS for pair in Pairs(cleaned, split)}
    dirty = Counter(pair.meta["dirt"] for pair in before if pair.meta["dirt"])
    caught = Counter(pair.meta["dirt"] for pair in before if pair.meta["dirt"] and pair.key not in kept)
    dropped = len(before) - len(kept)
    return {
        "dirt_recall": sum(caught.values()) / max(sum(dirty.values()), 1),
        "dirt_precision": sum(caught.values()) / max(dropped, 1),
        "dirt_recall_by_kind": {kind: caught[kind] / count for kind, count in sorted(dirty.items())},
    }


if __name__ == "__main__":
    stage.main(clean)
