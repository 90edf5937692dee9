"""Sentence pairs on disk and as token ids: what the stages of a room of pairs exchange."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.engines.shards.samples import Samples

__all__ = ["Pair", "Pairs", "encode", "encode_targets", "pad"]


@dataclass(frozen=True)
class Pair:
    """One sentence pair; `meta` carries what the source told about it (`dirt` and `combination` on the sample grammar)."""

    key: str
    source: str
    target: str
    meta: dict[str, Any]

    def to_sample(self) -> dict[str, Any]:
        body = {"source": self.source, "target": self.target, "meta": self.meta}
        return {"__key__": self.key, "json": json.dumps(body, ensure_ascii=False).encode()}

    @classmethod
    def from_sample(cls, sample: dict[str, Any]) -> Pair:
        body = json.loads(sample["json"])
        return cls(sample["__key__"], body["source"], body["target"], body["meta"])


class Pairs(Samples[Pair]):
    """The pairs of one split, by index; `limit` takes the first ones only."""

    kind = Pair


def encode(tokenizer: Any, texts: list[str], max_tokens: int) -> list[list[int]]:
    """Token ids of source-side texts, each ending in eos, cut at `max_tokens`."""
    return tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]


def encode_targets(tokenizer: Any, texts: list[str], max_tokens: int) -> list[list[int]]:
    """Token ids of target-side texts (multilingual tokenizers mark the target language)."""
    return tokenizer(text_target=texts, truncation=True, max_length=max_tokens)["input_ids"]


def pad(rows: list[list[int]], value: int, length: int | None = None) -> np.ndarray:
    """Right-pad to `length`, or to the longest row: int64 [batch, length]."""
    padded = np.full((len(rows), length or max(map(len, rows))), value, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded
