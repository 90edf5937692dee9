"""Pairs of texts from the sample world or any source -> shards, split into train, valid and test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from components.engines.base import stage
from components.engines.language.ingest import TextIngest, ingest_texts


class Ingest(TextIngest):
    """Where pairs come from and how they are split."""


def ingest(params: Ingest, texts: Path) -> None:
    """Write the pairs of the source as shards."""
    from components.SYSTEM.world.numerals import draw

    ingest_texts(params, texts, ["source", "target"], partial(draw, params.num_train, params.num_test, params.seed))


if __name__ == "__main__":
    stage.main(ingest)
