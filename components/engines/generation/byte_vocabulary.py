"""The bytes that each token of a byte-level BPE stands for, and which tokens agree with bytes that must come next."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from components.engines.base.errors import UsageError

_SPACES = b" \t\r\n"
_REMEMBERED = 512  # a typist's words, letter by letter


@dataclass(frozen=True)
class Agreeing:
    """Tokens that agree with bytes that must come next, as masks [vocabulary].

    `allowed` either cover those bytes or are a beginning of them; `covering` are the first of these; `ends` cover them and go on
    to where a phrase ends.
    """

    allowed: Any
    covering: Any
    ends: Any


class ByteVocabulary:
    """`size` is the model's number of logits: ids that no token has are never allowed, nor are special tokens but the end."""

    def __init__(self, tokenizer: Any, size: int, device: Any) -> None:
        _require_byte_level(tokenizer)
        self.size, self.device, self.end = size, device, tokenizer.eos_token_id
        special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        letters = {sign: byte for byte, sign in enumerate(_byte_signs())}
        self.bytes: dict[int, bytes] = {
            number: bytes(letters[sign] for sign in token)
            for token, number in tokenizer.get_vocab().items()
            if number not in special and number < size
        }
        self._sorted = sorted((text, number) for number, text in self.bytes.items())
        self._known: dict[bytes, Agreeing] = {}

    def mask(self, numbers: Any) -> Any:
        """[vocabulary] bool, true for these ids."""
        import torch

        found = torch.zeros(self.size, dtype=torch.bool)
        found[list(numbers)] = True
        return found.to(self.device)

    @cached_property
    def free(self) -> Agreeing:
        """Where nothing is left to agree with: any text, a line's end or the text's."""
        return Agreeing(self.mask([*self.bytes, *self._end]), self.mask([]), self.mask(self._ending(0, self.bytes)))

    @cached_property
    def boundary(self) -> Any:
        """Tokens behind which the word before them is whole: those that begin with white space, and the end."""
        return self.mask([*(number for number, text in self.bytes.items() if text[0] in _SPACES), *self._end])

    def agreeing(self, rest: bytes) -> Agreeing:
        """Tokens for a place where `rest` must come next."""
        if not rest:
            return self.free
        if rest not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            covering = []
            for text, number in self._sorted[bisect_left(self._sorted, (rest, -1)) :]:
                if not text.startswith(rest):
                    break
                covering.append(number)
            beginnings = [number for size in range(1, len(rest)) for number in self._exactly(rest[:size])]
            self._known[rest] = Agreeing(
                self.mask([*covering, *beginnings]), self.mask(covering), self.mask(self._ending(len(rest), covering))
            )
        return self._known[rest]

    @property
    def _end(self) -> list[int]:
        return [] if self.end is None else [self.end]

    def _exactly(self, text: bytes) -> list[int]:
        place = bisect_left(self._sorted, (text, -1))
        return [self._sorted[place][1]] if place < len(self._sorted) and self._sorted[place][0] == text else []

    def _ending(self, start: int, numbers: Any) -> list[int]:
        """Those that hold a line's end at `start` or later; without a start, the text's end too."""
        lines = [number for number in numbers if b"\n" in self.bytes[number][start:]]
        return lines if start else [*lines, *self._end]


def _require_byte_level(tokenizer: Any) -> None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or "ByteLevel" not in str(json.loads(backend.to_str())["decoder"]):  # perhaps one of several
        raise UsageError(
            "Phrases are searched byte by byte, and this tokenizer is no byte-level BPE",
            where=str(getattr(tokenizer, "name_or_path", "")),
            do="take a checkpoint with a tokenizer as GPT-2's, or train one",
        )


def _byte_signs() -> list[str]:
    """The printable sign that stands for each byte in byte-level vocabularies (Radford et al. 2019, their code)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    signs, spare = [], 0x100
    for byte in range(256):
        signs.append(chr(byte if byte in shown else spare))
        spare += byte not in shown
    return signs
