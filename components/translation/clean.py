"""Cleaning: normalise, drop what is no translation, drop duplicates and what leaks from the test split into training."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.paths import read_json, write_json
from components.engines.base.stage import StageContext
from components.engines.language.clean import TextCheck, TextCleaning, clean_texts

MIN_COPIED_WORDS = 3  # shorter equal pairs are names and numbers, which translate to themselves
UNLIKELY, SURE_WORDS = 0.01, 6  # the expected language's chance, and the length from which a wrong language is believed
SHORT_WORDS = 3  # below this a length ratio says nothing


class Clean(TextCleaning):
    """What a usable pair looks like. Languages are ISO 639-1 codes to check, scripts Unicode script names; null: no check."""

    max_length_ratio: Annotated[float, Field(ge=1)] = 2.5
    source_language: str | None = None
    target_language: str | None = None
    source_script: str | None = None
    target_script: str | None = None


def clean(params: Clean, context: StageContext, pairs: Path, cleaned: Path, cleaning: Path) -> None:
    """Write the usable pairs, with what was left out and why beside them.

    `cleaning` holds the counts by reason and, where the source labels its dirt, how much of it was caught and how much that was
    caught was dirt.
    """
    clean_texts(params, context, pairs, cleaned, cleaning, check=partial(PairCheck, params))
    write_json(cleaning, read_json(cleaning) | _dirt(pairs, cleaned))


class PairCheck(TextCheck):
    """The checks that look at one pair alone."""

    params: Clean

    def reason_against(self, texts: dict[str, str]) -> str | None:
        return super().reason_against(texts) or self._no_translation(**texts)

    def _no_translation(self, source: str, target: str) -> str | None:
        from components.engines.text.language import count_words

        shorter, longer = sorted((count_words(source), count_words(target)))
        if source == target and longer >= MIN_COPIED_WORDS:
            return "copied"
        if longer > SHORT_WORDS and longer > self.params.max_length_ratio * shorter:
            return "length ratio"
        return self._wrong_language(source, target)

    def _wrong_language(self, source: str, target: str) -> str | None:
        params = self.params
        for text, script in ((source, params.source_script), (target, params.target_script)):
            if script and not in_script(text, script):
                return "wrong script"
        for text, code in ((source, params.source_language), (target, params.target_language)):
            if code and is_other_language(text, code):
                return "wrong language"
        return None


def is_other_language(text: str, code: str) -> bool:
    """Whether a text is surely not in the language `code`; of short texts nothing is sure."""
    from components.engines.text.language import chance_of, count_words

    return count_words(text) >= SURE_WORDS and chance_of(text, code) <= UNLIKELY


def in_script(text: str, script: str) -> bool:
    """Whether most letters belong to a script, by the first word of their Unicode names (`LATIN`, `CYRILLIC`, `CJK`)."""
    letters = [character for character in text if character.isalpha()]
    inside = sum(unicodedata.name(letter, "").startswith(script.upper()) for letter in letters)
    return inside * 2 >= len(letters)


def _dirt(pairs: Path, cleaned: Path) -> dict[str, Any]:
    """Share of the labelled dirt that was caught, by kind, and share of the caught that was dirt (sample grammar only)."""
    from components.engines.language.pairs import Pairs
    from components.engines.sources.splits import SPLITS

    kept = {pair.key for split in SPLITS for pair in Pairs(cleaned, split)}
    dirty, caught, seen, labelled = Counter[str](), Counter[str](), 0, False
    for pair in (pair for split in SPLITS for pair in Pairs(pairs, split)):
        seen, labelled = seen + 1, labelled or "dirt" in pair.meta
        if dirt := pair.meta.get("dirt"):
            dirty[dirt] += 1
            caught[dirt] += pair.key not in kept
    if not labelled:
        return {}
    return {
        "dirt_recall": caught.total() / max(dirty.total(), 1),
        "dirt_precision": caught.total() / max(seen - len(kept), 1),
        "dirt_recall_by_kind": {kind: caught[kind] / count for kind, count in sorted(dirty.items())},
    }


if __name__ == "__main__":
    stage.main(clean)
