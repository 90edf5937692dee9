"""Sentence pairs on disk and as token ids: what the stages of this room exchange."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.engines.shards.reader import ShardReader

SPLITS = ("train", "valid", "test")
IGNORED = -100  # label of padding: torch's cross-entropy skips it


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


class Pairs(Sequence[Pair]):
    """The pairs of one split, by index; `limit` takes the first ones only."""

    def __init__(self, folder: Path, split: str, limit: int | None = None) -> None:
        self.reader = ShardReader(folder, split)
        self.length = min(len(self.reader), limit) if limit else len(self.reader)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.length))]
        if not 0 <= index < self.length:
            raise IndexError(index)
        return Pair.from_sample(self.reader[int(index)])

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(self.length))


def encode(tokenizer: Any, texts: list[str], max_tokens: int) -> list[list[int]]:
    """Token ids of source-side texts, each ending in eos, cut at `max_tokens`."""
    return tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]


def encode_targets(tokenizer: Any, texts: list[str], max_tokens: int) -> list[list[int]]:
    """Token ids of target-side texts (multilingual tokenizers mark the target language)."""
    return tokenizer(text_target=texts, truncation=True, max_length=max_tokens)["input_ids"]


def pad(rows: list[list[int]], value: int) -> np.ndarray:
    """Right-pad to the longest row: int64 [batch, longest]."""
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded
