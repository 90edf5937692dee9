"""The sample world of translation: English sentences and their Novese translations, with known truth and labelled dirt.

The pair asks for what translation asks for: reordering (the verb goes last, adjectives follow their noun), agreement
(article, adjective and verb with a noun's gender and number), sense by context (`POLYSEMES`), and free variation
(`FREE_NOUNS`), where beam search beats greedy decoding. Test sentences use the most frequent rendering as reference.
A fixed tenth of all (adjective, noun) combinations appears in test sentences only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.engines.base.seeds import derive
from components.translation.world import lexicon as lx

HELD_OUT_SHARE = 10  # one combination in ten
DIRT = ("duplicate", "empty", "misaligned", "copied", "truncated", "wrong_language", "broken")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase with its translation and whether its combination is held out of training."""

    source: list[str]
    target: list[str]
    plural: bool
    held_out: bool


def is_held_out(adjective: str, noun: str) -> bool:
    return derive(0, "held-out", adjective, noun) % HELD_OUT_SHARE == 0


def agreement(sentence: str) -> tuple[int, int]:
    """(right, checked) agreements in a Novese sentence, judged from the sentence alone.

    Checked are an article before a known noun, an adjective after one, and the last word if it is a verb (its number against
    the first noun). A sentence with no noun has nothing right: it counts as one failed check, so that silence earns nothing.
    """
    words = sentence.rstrip(".").split()
    forms, adjectives, verbs = lx.nouns_by_form(), lx.adjective_stems(), lx.verb_stems()
    right = checked = 0
    subject_plural: bool | None = None
    for index, word in enumerate(words):
        if word not in forms:
            continue
        noun, plural = forms[word]
        if subject_plural is None:
            subject_plural = plural
        if index:
            checked += 1
            right += words[index - 1] == lx.article(noun.feminine, plural)
        after = words[index + 1] if index + 1 < len(words) else ""
        if after[:-1] in adjectives:
            checked += 1
            right += after[-1] == lx.adjective("red", noun.feminine, plural)[-1]
    if subject_plural is not None and words:
        for ending, plural in (("ivan", True), ("ant", True), ("iv", False), ("at", False)):
            if words[-1].endswith(ending) and words[-1].removesuffix(ending) in verbs:
                checked += 1
                right += plural == subject_plural
                break
    return (right, checked) if checked else (0, 1)


class Grammar:
    """Draws sentence pairs. `canonical` pairs use the most frequent rendering; others vary as translators do."""

    def __init__(self, rng: random.Random, *, canonical: bool, allow_held_out: bool) -> None:
        self.rng, self.canonical, self.allow_held_out = rng, canonical, allow_held_out

    def pair(self) -> tuple[str, str, bool]:
        """(source, target, uses a held-out combination)."""
        rng = self.rng
        verb = rng.choice(lx.VERBS)
        subject, object_ = self._phrase(verb), self._phrase(verb)
        past, negated = rng.random() < 0.4, rng.random() < 0.25
        adverb = rng.choice(lx.ADVERBS) if rng.random() < 0.4 else None
        source = [*subject.source, *_english_verb(verb, past, negated, subject.plural), *object_.source]
        target = [*subject.target, *(["non"] if negated else []), *object_.target]
        if adverb:
            source.append(adverb)
            target.append(lx.stem(adverb, "adverb") + "ente")
        target.append(lx.verb(verb, past, subject.plural))
        return " ".join(source) + ".", " ".join(target) + ".", subject.held_out or object_.held_out

    def _phrase(self, verb: str) -> Phrase:
        rng = self.rng
        draw = rng.random()
        plural = rng.random() < 0.35
        if draw < 0.1:
            word, noun, extra = self._free_noun(plural)
        elif draw < 0.23:
            word, extra = rng.choice(lx.POLYSEMES), []
            noun = lx.noun(word, "animal" if verb in lx.ANIMAL_VERBS else "thing")
        else:
            word, extra = rng.choice(lx.NOUNS), []
            noun = lx.noun(word)
        source = ["the", _with_s(word) if plural else word]
        target = [lx.article(noun.feminine, plural), noun.plural if plural else noun.singular]
        held_out = False
        if rng.random() < 0.55:
            adjective = rng.choice(lx.ADJECTIVES)
            while is_held_out(adjective, word) and not self.allow_held_out:
                adjective = rng.choice(lx.ADJECTIVES)
            held_out = is_held_out(adjective, word)
            source.insert(1, adjective)
            target.append(lx.adjective(adjective, noun.feminine, plural))
        return Phrase(source, target + extra, plural, held_out)

    def _free_noun(self, plural: bool) -> tuple[str, lx.Noun, list[str]]:
        """A freely rendered noun: its compact word, or the phrase `noun di <variant>`."""
        word = self.rng.choice(lx.FREE_NOUNS)
        if self.canonical or self.rng.random() < lx.COMPACT_SHARE:
            return word, lx.noun(word), []
        variant = self.rng.randrange(lx.FREE_VARIANTS)
        return word, lx.noun(word, "phrase"), ["di", lx.stem(f"{word}{variant}", "variant") + "u"]


def _english_verb(verb: str, past: bool, negated: bool, plural: bool) -> list[str]:
    if negated:
        return ["did" if past else "do" if plural else "does", "not", verb]
    if past:
        return ["did", verb]
    return [verb if plural else _with_s(verb)]


def _with_s(word: str) -> str:
    """The English ending of plural nouns and third-person verbs, spelled right."""
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def draw_pairs(num_train: int, num_test: int, seed: int) -> Iterator[dict[str, Any]]:
    """`num_train` varied pairs for training and validation, then `num_test` canonical ones with unseen sentences.

    Records: source, target, split_hint (`pool` or `test`), combination (`seen` or `unseen`).
    """
    seen: set[str] = set()
    pool = Grammar(random.Random(derive(seed, "pool")), canonical=False, allow_held_out=False)
    for _ in range(num_train):
        source, target, _ = pool.pair()
        seen.add(source)
        yield {"source": source, "target": target, "split_hint": "pool", "combination": "seen"}
    test = Grammar(random.Random(derive(seed, "test")), canonical=True, allow_held_out=True)
    drawn = 0
    while drawn < num_test:
        source, target, held_out = test.pair()
        if source in seen:
            continue
        seen.add(source)
        drawn += 1
        yield {
            "source": source,
            "target": target,
            "split_hint": "test",
            "combination": "unseen" if held_out else "seen",
        }


def with_dirt(pairs: Iterator[dict[str, Any]], fraction: float, seed: int) -> Iterator[dict[str, Any]]:
    """Pass pairs on, spoiling a `fraction` of the pool in the ways real corpora are spoilt; `dirt` names how."""
    rng = random.Random(derive(seed, "dirt"))
    previous: dict[str, Any] | None = None
    for pair in pairs:
        if pair["split_hint"] == "pool" and previous is not None and rng.random() < fraction:
            yield _spoil(pair, previous, rng)
        yield {"dirt": "", **pair}
        previous = pair


def _spoil(pair: dict[str, Any], previous: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(DIRT)
    spoilt = {"dirt": kind, **pair}
    words = pair["target"].split()
    if kind == "duplicate":
        return {"dirt": kind, **previous}
    if kind == "empty":
        spoilt["target"] = "  "
    elif kind == "misaligned":  # two sentences glued to the translation of one
        spoilt["target"] = " ".join([pair["target"], previous["target"], previous["target"]])
    elif kind == "copied":
        spoilt["target"] = pair["source"]
    elif kind == "truncated":
        spoilt["target"] = words[0]
    elif kind == "wrong_language":
        spoilt["target"] = "Это предложение написано на другом языке."
    else:
        spoilt["target"] = None
    return spoilt
