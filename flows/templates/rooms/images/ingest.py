"""Captioned images from the scene painter or any source -> shards, as they were found, split into train, valid and test."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.captioned.ingest import ImageIngest, ingest_images


class Ingest(ImageIngest):
    """Where captioned images come from and how they are split."""


def ingest(params: Ingest, images: Path) -> None:
    """Write the captioned images of the source as shards, undecoded."""
    ingest_images(params, images)


if __name__ == "__main__":
    stage.main(ingest)
