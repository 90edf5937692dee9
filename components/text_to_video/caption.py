"""Captions: what training learns from has one, given or written anew; marked clips go."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from components.engines.base import stage
from components.engines.base.params import GpusPerWorker, MaxBadFraction, Params, Workers
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding

if TYPE_CHECKING:
    from components.engines.videos.dataset import Video

BEFORE = "caption_by"


class Caption(Params):
    """`missing` captions are written by the captioner of pictures at `init_from` (a hub id, or a folder such as that of the room
    image_captioning) from the middle frame, with what the clip's flow says of its motion behind them; or by `template` alone;
    or such clips are left out (`drop`).

    `marked` clips of training and validation are left out (`drop`), or kept to compare.
    """

    missing: Literal["captioner", "template", "drop"] = "drop"
    init_from: str | None = None
    marked: Literal["drop", "keep"] = "drop"
    template: str = "a clip that moves {direction}"
    decoding: Decoding = Decoding()
    workers: Workers = 0
    gpus_per_worker: GpusPerWorker = "auto"
    max_bad_fraction: MaxBadFraction = 0.01

    @model_validator(mode="after")
    def _has_a_captioner(self) -> Self:
        if self.missing == "captioner" and self.init_from is None:
            raise ValueError("missing: captioner needs init_from, e.g. data/image_captioning/model")
        return self


def caption(params: Caption, context: StageContext, scored: Path, curated: Path, curation: Path) -> None:
    """Write the clips that training learns from, with a caption each, through the shard map; `curation` counts them."""
    from components.engines.shards.manifest import read_manifest
    from components.engines.shards.map_shards import map_shards
    from components.engines.sources.splits import SPLITS
    from components.engines.videos.dataset import Videos

    map_shards(
        partial(Captioning, params),
        scored,
        curated,
        work=context.work / "map",
        workers=params.workers,
        resources={"CPU": 1, "GPU": params.gpus_per_worker},
        max_bad_fraction=params.max_bad_fraction,
    )
    funnel = read_manifest(curated).funnel
    assert funnel is not None
    funnel.check_some_kept("clips", where=context.name, do="look at the thresholds of text_to_video.filter")
    written = sum(BEFORE in one.metadata for split in SPLITS for one in Videos(curated, split))
    write_json(curation, {**funnel.as_dict(), "captions_written": written})


class Captioning:
    """A `Mapper` of the shard map. The captioner is loaded only where it may be asked."""

    batch_size = 64

    def __init__(self, params: Caption) -> None:
        self.params = params
        if params.missing == "captioner":
            from components.engines.generation.captioner import ImageCaptioner
            from components.engines.nn.device import own_device

            assert params.init_from is not None  # the params see to it
            self.captioner = ImageCaptioner.load(params.init_from).to(own_device())

    def decode(self, sample: dict[str, Any]) -> Video:
        from components.engines.videos.dataset import Video

        return Video.from_sample(sample)

    def apply(self, items: list[Video]) -> list[Any]:
        from components.engines.shards.map_shards import Rejected

        answers: list[Any] = []
        for video in items:
            marked = video.metadata["marked"] if self.params.marked == "drop" and not _is_test(video) else []
            if marked:
                answers.append(Rejected(f"below {marked[0]}", video.to_sample()))
            elif not video.caption and self.params.missing == "drop":
                answers.append(Rejected("no caption", video.to_sample()))
            else:
                answers.append(video)
        silent = [place for place, one in enumerate(answers) if not isinstance(one, Rejected) and not one.caption]
        for place, told in zip(silent, self._captions([answers[place] for place in silent]), strict=True):
            answers[place] = told
        return [one if isinstance(one, Rejected) else one.to_sample() for one in answers]

    def _captions(self, videos: list[Video]) -> list[Video]:
        from dataclasses import replace

        from PIL import Image

        if not videos:
            return []
        clips = [one.frames() for one in videos]
        moved = [_direction(frames) for frames in clips]
        if self.params.missing == "template":
            texts = [self.params.template.format(direction=one or "nowhere") for one in moved]
        else:
            middles = [Image.fromarray(frames[len(frames) // 2]) for frames in clips]
            seen = [said.text for said in self.captioner.caption(middles, self.params.decoding, scored=False)]
            texts = [f"{said}, moving {one}" if one else said for said, one in zip(seen, moved, strict=True)]
        return [
            replace(one, caption=text, metadata={**one.metadata, BEFORE: self.params.missing})
            for one, text in zip(videos, texts, strict=True)
        ]


def _is_test(video: Video) -> bool:
    return video.metadata.get("split") == "test"


def _direction(frames: Any) -> str | None:
    """Where the clip moves in each half, in words; None where it does not move."""
    import numpy as np

    from components.engines.videos.signals import DIRECTIONS, flow

    moved = flow(frames)
    said: list[str] = []
    for part in np.array_split(moved, 2):
        mean = part.mean(0) if len(part) else np.zeros(2)
        if np.linalg.norm(mean) > 1e-3:
            name = max(DIRECTIONS, key=lambda one: float(mean @ DIRECTIONS[one]))
            said += [name] if name not in said[-1:] else []
    return ", then ".join(said) or None


if __name__ == "__main__":
    stage.main(caption)
