"""Captioned images on disk, before and after cleaning: what the stages of a room exchange."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.shards.reader import ShardReader

if TYPE_CHECKING:
    from PIL import Image

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Captioned:
    """One captioned image. `image` is a file of any kind before cleaning and a PNG after it.

    `told` is what the stages know besides: `name` of the source, `truth` of a sample world, after cleaning `width`, `height` and
    `print` (see lookalikes.Print).
    """

    key: str
    image: bytes
    caption: str
    told: dict[str, Any]

    @property
    def scene(self) -> dict[str, str] | None:
        """What is in the image, where the source is the sample world."""
        return (self.told.get("truth") or {}).get("scene")

    def open(self) -> Image.Image:
        """The picture of a cleaned sample."""
        from PIL import Image

        return Image.open(io.BytesIO(self.image), formats=("PNG",))

    def to_sample(self) -> dict[str, Any]:
        body = {"caption": self.caption, **self.told}
        return {"__key__": self.key, "image": self.image, "json": json.dumps(body, ensure_ascii=False).encode()}

    @classmethod
    def from_sample(cls, sample: dict[str, Any]) -> Captioned:
        body = json.loads(sample["json"])
        return cls(sample["__key__"], sample["image"], body.pop("caption"), body)


class CaptionedImages(Sequence[Captioned]):
    """The captioned images of one split, by index."""

    def __init__(self, folder: Path, split: str) -> None:
        self.reader = ShardReader(folder, split)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Captioned.from_sample(self.reader[int(index)])

    def __iter__(self) -> Iterator[Captioned]:
        return (self[index] for index in range(len(self)))
