"""Examples of text on disk, before and after cleaning: what the stages of a room exchange."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.engines.shards.samples import Samples


@dataclass(frozen=True)
class Record:
    """One example: its texts by field, and in `meta` what the source told about it."""

    key: str
    texts: dict[str, str]
    meta: dict[str, Any]

    def to_sample(self) -> dict[str, Any]:
        body = {**self.texts, "meta": self.meta}
        return {"__key__": self.key, "json": json.dumps(body, ensure_ascii=False).encode()}

    @classmethod
    def from_sample(cls, sample: dict[str, Any]) -> Record:
        body = json.loads(sample["json"])
        return cls(sample["__key__"], body, body.pop("meta"))


class Records(Samples[Record]):
    """The examples of one split, by index; `limit` takes the first ones only."""

    kind = Record
