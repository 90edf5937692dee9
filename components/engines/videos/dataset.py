"""Captioned videos on disk, before and after cleaning: what the stages of a room exchange. A picture is a video of one frame."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.engines.shards.samples import Samples

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Video:
    """One captioned video. `clip` is a file of any kind before cleaning and H.264 in MP4 after it; `caption` may be empty.

    `metadata` is what the stages know besides: `name` of the source, `truth` of a sample world, and after cleaning `frames`,
    `width`, `height`, `fps`.
    """

    key: str
    clip: bytes
    caption: str
    metadata: dict[str, Any]

    @property
    def scene(self) -> dict[str, str] | None:
        """What the video shows, where the source is the sample world."""
        return (self.metadata.get("truth") or {}).get("scene")

    def frames(self) -> np.ndarray:
        """Of a cleaned sample: [frames, height, width, 3], uint8."""
        from components.engines.videos.decode import decode_clip

        return decode_clip(self.clip)

    def to_sample(self) -> dict[str, Any]:
        body = {"caption": self.caption, **self.metadata}
        return {"__key__": self.key, "clip": self.clip, "json": json.dumps(body, ensure_ascii=False).encode()}

    @classmethod
    def from_sample(cls, sample: dict[str, Any]) -> Video:
        body = json.loads(sample["json"])
        return cls(sample["__key__"], sample["clip"], body.pop("caption"), body)


class Videos(Samples[Video]):
    """The videos of one split, by index."""

    kind = Video
