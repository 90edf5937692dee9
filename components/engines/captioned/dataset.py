"""Captioned images on disk, before and after cleaning: what the stages of a room exchange."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from components.engines.shards.samples import Samples

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Captioned:
    """One captioned image. `image` is a file of any kind before cleaning and a PNG after it.

    `metadata` is what the stages know besides: `name` of the source, `truth` of a sample world, and after cleaning `width`,
    `height` and `print` (see lookalikes.Print).
    """

    key: str
    image: bytes
    caption: str
    metadata: dict[str, Any]

    @property
    def scene(self) -> dict[str, str] | None:
        """What is in the image, where the source is the sample world."""
        return (self.metadata.get("truth") or {}).get("scene")

    def open(self) -> Image.Image:
        """The picture of a cleaned sample."""
        from PIL import Image

        return Image.open(io.BytesIO(self.image), formats=("PNG",))

    def to_sample(self) -> dict[str, Any]:
        body = {"caption": self.caption, **self.metadata}
        return {"__key__": self.key, "image": self.image, "json": json.dumps(body, ensure_ascii=False).encode()}

    @classmethod
    def from_sample(cls, sample: dict[str, Any]) -> Captioned:
        body = json.loads(sample["json"])
        return cls(sample["__key__"], sample["image"], body.pop("caption"), body)


class CaptionedImages(Samples[Captioned]):
    """The captioned images of one split, by index."""

    kind = Captioned


def without_picture(one: Captioned) -> Captioned:
    """What is known of it, with an empty `image`: many of these take little memory."""
    return replace(one, image=b"")


class Pictures(Sequence["Image.Image"]):
    """The opened pictures of `images`, or of those at `places` there, read when they are asked for."""

    def __init__(self, images: Sequence[Captioned], places: Sequence[int] | None = None) -> None:
        self.images, self.places = images, range(len(images)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.images[place].open() for place in self.places[index]]
        return self.images[self.places[index]].open()
