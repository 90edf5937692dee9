"""Sentence pairs from the sample grammar or any tabular source -> shards, split into train, valid and test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import field_validator

from components.engines.base import stage
from components.engines.base.params import Fraction, Positive
from components.engines.language.ingest import TextIngest, ingest_texts

FIELDS = ("source", "target")


class Ingest(TextIngest):
    """Where sentence pairs come from and how they are split. `num_*` and `dirt_fraction` are for `source: sample`."""

    num_train: Positive = 20_000
    num_test: Positive = 500
    dirt_fraction: Fraction = 0.08
    valid_fraction: Fraction = 0.02

    @field_validator("fields")
    @classmethod
    def _of_pairs(cls, fields: dict[str, str]) -> dict[str, str]:
        unknown = sorted(fields.keys() - set(FIELDS))
        if unknown:
            raise ValueError(f"unknown key '{unknown[0]}' (known: {', '.join(FIELDS)})")
        return fields


def ingest(params: Ingest, pairs: Path) -> None:
    """Read sentence pairs and write them as shards; the sample grammar says itself which sentences are for testing."""
    ingest_texts(params, pairs, FIELDS, partial(_drawn, params))


def _drawn(params: Ingest) -> Iterator[dict[str, Any]]:
    from components.translation.world.grammar import draw_pairs, with_dirt

    return with_dirt(draw_pairs(params.num_train, params.num_test, params.seed), params.dirt_fraction, params.seed)


if __name__ == "__main__":
    stage.main(ingest)
