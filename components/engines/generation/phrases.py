"""The words that come next: beam search behind what is typed, mid-word too, with the probability of each phrase.

A typist stops anywhere in a word, where the tokens of what is typed are not those of the finished text. So the search begins at
the last boundary between words, and its first tokens must spell what is typed behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.engines.base.params import Fraction, Params, Positive
from components.engines.generation.byte_vocabulary import ByteVocabulary
from components.engines.generation.prefix import Prefix


class PhraseSearch(Params):
    """`num_beams` hypotheses by their sum of log-probabilities; a phrase ends with the line, the text or one of the limits."""

    num_beams: Positive = 4
    max_new_tokens: Positive = 24
    max_words: Positive = 10


@dataclass(frozen=True)
class Phrase:
    """`text` is what comes behind the cursor; `probability` that exactly these words come, given what is typed."""

    text: str
    words: int
    probability: float


@dataclass
class Found:
    """`phrases` are the likeliest ones met, by their number of words; `hypothesis` is the best one, token by token, with its
    sum of log-probabilities. `passes` counts runs of the network."""

    phrases: dict[int, Phrase]
    hypothesis: list[int]
    score: float
    passes: int


@dataclass
class _Beam:
    score: float
    rest: bytes  # of what is typed, still to be spelt
    text: bytes = b""  # behind the cursor
    tokens: list[int] = field(default_factory=list)


def split_typed(text: str) -> tuple[str, str]:
    """(what no further typing tokenizes otherwise, the rest): the cut stands before the last white space."""
    word = text.rsplit(maxsplit=1)[-1] if text and not text[-1].isspace() else ""
    stable = text[: len(text) - len(word)].rstrip()
    return stable, text[len(stable) :]


def search(
    prefix: Prefix, ids: list[int], held: str, vocabulary: ByteVocabulary, params: PhraseSearch, floor: Fraction = 0.0
) -> Found:
    """Phrases behind the tokens `ids` and the text `held`, which no token of `ids` holds yet.

    Probabilities are conditional on `held`: divided by that of all its spellings that the search met. Hypotheses less
    probable than `floor` are not followed: from .5 on no phrase above it is missed, since only one can be that probable at
    any length.
    """
    import torch

    with torch.inference_mode():
        return _Search(prefix, vocabulary, params, floor).run(ids, held.encode())


class _Search:
    def __init__(self, prefix: Prefix, vocabulary: ByteVocabulary, params: PhraseSearch, floor: float) -> None:
        self.prefix, self.vocabulary, self.params = prefix, vocabulary, params
        self.floor = math.log(floor) if floor > 0 else -math.inf
        self.spelt = -math.inf  # log of the probability of all spellings of what is held
        self.met: dict[int, tuple[float, str]] = {}
        self.best = _Beam(-math.inf, b"")

    def run(self, ids: list[int], held: bytes) -> Found:
        import torch

        beams = [_Beam(0.0, held)]
        self.spelt = -math.inf if held else 0.0
        logits, cache, passes = self.prefix.read(ids)[None], None, 0
        positions = getattr(self.prefix.model.config, "max_position_embeddings", None) or math.inf
        limit = min(self.params.max_new_tokens, positions + 1 - len(ids))  # the last token is not read
        for step in range(int(limit)):
            chosen = self._step(beams, torch.log_softmax(logits.float(), -1))
            beams = [beam for _, beam in chosen]
            if not self._worth(beams) or step + 1 == limit:
                break
            if cache is None:
                cache = self.prefix.copies(len(beams))
            elif [parent for parent, _ in chosen] != list(range(len(logits))):
                cache.reorder_cache(torch.tensor([parent for parent, _ in chosen], device=self.vocabulary.device))
            last = torch.tensor([[beam.tokens[-1]] for beam in beams], device=self.vocabulary.device)  # [beams, 1]
            seen = torch.ones(len(beams), len(ids) + step + 1, dtype=torch.long, device=self.vocabulary.device)
            answered = self.prefix.model(input_ids=last, attention_mask=seen, past_key_values=cache, use_cache=True)
            logits = answered.logits[:, -1]
            passes += 1
        best = max([self.best, *(beam for beam in beams if not beam.rest)], key=lambda beam: beam.score)
        phrases = {
            words: Phrase(text, words, math.exp(min(score - self.spelt, 0.0)))
            for words, (score, text) in sorted(self.met.items())
        }
        return Found(phrases, best.tokens, best.score, passes)

    def _step(self, beams: list[_Beam], log_probs: Any) -> list[tuple[int, _Beam]]:
        """The hypotheses that are followed on, each with the number of the one it goes on from. log_probs: [beams, vocabulary]"""
        import torch

        rules = [self.vocabulary.agreeing(beam.rest) for beam in beams]
        scores = torch.tensor([beam.score for beam in beams], device=log_probs.device)[:, None]  # [beams, 1]
        sums = log_probs + scores  # [beams, vocabulary]
        self._meet(beams, rules, sums)
        sums = sums.masked_fill(~torch.stack([rule.allowed for rule in rules]), -math.inf)
        ends = torch.stack([rule.ends for rule in rules])
        for parent, token, score in _top(sums, self.params.num_beams):
            if bool(ends[parent, token]) and score > self.best.score:
                self.best = self._longer(beams[parent], token, score)
        return [
            (parent, self._longer(beams[parent], token, score))
            for parent, token, score in _top(sums.masked_fill(ends, -math.inf), self.params.num_beams)
            if score - self.spelt >= self.floor
        ]

    def _meet(self, beams: list[_Beam], rules: list[Any], sums: Any) -> None:
        """Note the phrases of hypotheses whose last word is whole, with the probability that it is."""
        for number, beam in enumerate(beams):
            if beam.rest:
                spelt = sums[number][rules[number].covering].logsumexp(0).item()
                self.spelt = float(np.logaddexp(self.spelt, spelt))
                continue
            try:
                text = beam.text.decode()
            except UnicodeDecodeError:  # ends within a character
                continue
            words = len(text.split())
            if 0 < words <= self.params.max_words:
                score = sums[number][self.vocabulary.boundary].logsumexp(0).item()
                if score > self.met.get(words, (-math.inf,))[0]:
                    self.met[words] = score, text

    def _worth(self, beams: list[_Beam]) -> bool:
        """Whether following these hypotheses can still change what is found."""
        short = [beam for beam in beams if len(beam.text.split()) <= self.params.max_words]
        return bool(short) and max(beam.score for beam in beams) > self.best.score

    def _longer(self, beam: _Beam, token: int, score: float) -> _Beam:
        added = self.vocabulary.bytes.get(token, b"")  # of the end, nothing
        rest, text = beam.rest[len(added) :], beam.text + added[len(beam.rest) :]
        return _Beam(score, rest, text, [*beam.tokens, token])


def _top(sums: Any, count: int) -> list[tuple[int, int, float]]:
    """(row, column, value) of the highest values that are possible at all, the highest first."""
    found = sums.flatten().topk(min(count, sums.numel()))
    width = sums.shape[1]
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return [(place // width, place % width, value) for place, value in pairs if value > -math.inf]
