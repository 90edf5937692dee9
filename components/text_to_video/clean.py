"""Cleaning: every file is decoded within limits and cut into its shots; what remains is of one rate, size and kind of file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import MaxBadFraction, MaxRejectedFraction, Params, Positive, Workers
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.videos.decode import VideoLimits

if TYPE_CHECKING:
    import numpy as np

    from components.engines.videos.dataset import Video


class Clean(Params):
    """What a usable clip looks like: frames at `fps`, `store_px` at most on the longer side, `min_frames` or more, or one alone.

    A file is cut where a frame's change is `cut_threshold` (of 255) or more and `cut_ratio` times that of its neighbours; shots
    longer than `max_frames` are cut again, and `max_clips` of a file are kept. The caption of a file is its clip's, but not
    that of several shots.
    """

    limits: VideoLimits = VideoLimits()
    fps: Positive = 16
    store_px: Positive = 64
    min_px: Positive = 16
    min_frames: Positive = 9
    max_frames: Positive = 64
    max_clips: Positive = 32
    cut_threshold: Annotated[float, Field(ge=0)] = 6.0
    cut_ratio: Annotated[float, Field(ge=1)] = 3.0
    workers: Workers = 0
    max_bad_fraction: MaxBadFraction = 0.1
    max_rejected_fraction: MaxRejectedFraction = 0.5


def clean(params: Clean, context: StageContext, clips: Path, cleaned: Path, cleaning: Path) -> None:
    """Write every shot as a clip of its own, and the counts by reason of what was left out.

    `cleaned` holds H.264 clips with their captions, `rejected.jsonl` and `quarantined.jsonl` (key and reason of all other
    files); `cleaning` the counts of files, and, where the source tells the truth, what was caught and which cuts were found.
    """
    from components.engines.shards.manifest import read_manifest
    from components.engines.shards.map_shards import map_shards

    checked = context.work / "checked"
    map_shards(
        partial(ClipCheck, params),
        clips,
        checked,
        work=context.work / "map",
        workers=params.workers,
        max_bad_fraction=params.max_bad_fraction,
    )
    counts = _one_clip_a_sample(checked, cleaned)
    funnel = read_manifest(checked).funnel
    assert funnel is not None
    funnel.check_some_kept(
        "files", where=context.name, do="look at the source, and at the params of text_to_video.clean"
    )
    funnel.check(where=context.name, max_rejected_fraction=params.max_rejected_fraction)
    figures = {**funnel.as_dict(), "kept_fraction": funnel.kept / max(funnel.seen, 1), **counts}
    write_json(cleaning, figures | _caught(clips, checked))


class ClipCheck:
    """Decodes one file and cuts it into shots (a `Mapper` of the shard map): a sample with as many clips as there are."""

    batch_size = 1  # what is decoded goes as soon as it is written: a worker holds one file

    def __init__(self, params: Clean) -> None:
        self.params = params

    def decode(self, sample: dict[str, Any]) -> tuple[Video, list[bytes], dict[str, Any]]:
        from components.engines.videos.cuts import changes, cuts
        from components.engines.videos.dataset import Video

        found = Video.from_sample(sample)
        differences = list(changes(self._frames(found.clip)))
        starts = cuts(differences, threshold=self.params.cut_threshold, ratio=self.params.cut_ratio)
        ends = [*starts, len(differences) + 1]
        shots = list(self._shots(found.clip, ends))
        known = {"shots": len(ends), "frames": [count for _, count, _ in shots], "size": shots[0][2] if shots else None}
        return found, [clip for clip, _, _ in shots], known

    def apply(self, items: list[tuple[Video, list[bytes], dict[str, Any]]]) -> list[Any]:
        return [self._answer(*item) for item in items]

    def _frames(self, clip: bytes) -> Iterator[np.ndarray]:
        """Upright frames at the steady rate; a picture is one frame."""
        from components.engines.images.decode import Limits, decode_image, shrink
        from components.engines.videos.decode import open_clip

        params = self.params
        if _is_picture(clip):
            import numpy as np

            limits = Limits(max_bytes=params.limits.max_bytes, max_pixels=params.limits.max_pixels)
            yield np.asarray(shrink(decode_image(clip, limits), params.store_px))
            return
        with open_clip(clip, params.limits) as opened:
            yield from opened.frames(params.store_px, params.fps)

    def _shots(self, clip: bytes, ends: list[int]) -> Iterator[tuple[bytes, int, tuple[int, int]]]:
        """(file, frames, (height, width)) of every piece that is long enough; frames of one piece are held at a time."""
        from components.engines.videos.encode import encode_mp4

        params, made, piece = self.params, 0, []
        for place, frame in enumerate(self._frames(clip), 1):
            piece.append(frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2])
            if place != ends[0] and len(piece) < params.max_frames:
                continue
            if place == ends[0]:
                ends = ends[1:] or [-1]
            long_enough = len(piece) >= params.min_frames or (place == 1 and ends == [-1])
            if long_enough and made < params.max_clips and min(piece[0].shape[:2]) >= params.min_px:
                yield encode_mp4(piece, params.fps), len(piece), piece[0].shape[:2]
                made += 1
            piece = []

    def _answer(self, found: Video, shots: list[bytes], known: dict[str, Any]) -> Any:
        import json

        from components.engines.shards.map_shards import Rejected

        if not shots:
            return Rejected("too short or too small", found.to_sample())
        from components.engines.text.normalization import normalise

        body = {"caption": normalise(found.caption) if known["shots"] == 1 else "", **found.metadata, "known": known}
        files = {f"{number:04d}.mp4": clip for number, clip in enumerate(shots)}
        return {"__key__": found.key, **files, "json": json.dumps(body, ensure_ascii=False).encode()}


def _is_picture(clip: bytes) -> bool:
    """PNG, JPEG, WebP, BMP, TIFF or AVIF by its first bytes; a GIF may move."""
    signs = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
    return clip.startswith(signs) or clip[8:12] == b"WEBP" or clip[4:12] == b"ftypavif"


def _one_clip_a_sample(checked: Path, cleaned: Path) -> dict[str, int]:
    """Write the clips of all files, one a sample; returns how many there are."""
    import json
    import shutil

    from components.engines.shards.manifest import read_manifest, write_manifest
    from components.engines.shards.reader import ShardReader
    from components.engines.shards.writer import ShardWriter
    from components.engines.videos.dataset import Video

    manifest, shards, counts = read_manifest(checked), [], {"clips": 0, "pictures": 0, "shots_cut": 0}
    per_shard = max(shard.samples for shard in manifest.shards) if manifest.shards else 1
    for split in manifest.splits:
        with ShardWriter(cleaned, split, per_shard) as writer:
            for sample in ShardReader(checked, split):
                body = json.loads(sample["json"])
                known, caption = body.pop("known"), body.pop("caption")
                counts["shots_cut"] += known["shots"] - 1
                height, width = known["size"]
                for number, frames in enumerate(known["frames"]):
                    metadata = {
                        **body,
                        "split": split,
                        "frames": frames,
                        "height": height,
                        "width": width,
                        "shots": known["shots"],
                    }
                    key = sample["__key__"] if len(known["frames"]) == 1 else f"{sample['__key__']}_{number}"
                    writer.write(Video(key, sample[f"{number:04d}.mp4"], caption, metadata).to_sample())
                    counts["pictures" if frames == 1 else "clips"] += 1
        shards += writer.shards
    for name in ("rejected", "quarantined"):
        shutil.copyfile(checked / f"{name}.jsonl", cleaned / f"{name}.jsonl")
    write_manifest(cleaned, shards, manifest.funnel)
    return counts


def _caught(clips: Path, checked: Path) -> dict[str, Any]:
    """Of bad files, how many went; of odd ones, how many stayed; precision and recall of cuts (sample world only)."""
    import json
    from collections import Counter

    from components.engines.shards.reader import ShardReader
    from components.engines.sources.splits import SPLITS
    from components.engines.videos.dataset import Videos
    from components.text_to_video.world.records import BAD_FILES, CUT, ODD_FILES

    states = {
        one.key: one.metadata["truth"]["state"]
        for split in SPLITS
        for one in Videos(clips, split)
        if "truth" in one.metadata
    }
    if not states:
        return {}
    shots = {
        sample["__key__"]: json.loads(sample["json"])["known"]["shots"]
        for split in SPLITS
        for sample in ShardReader(checked, split)
    }
    met, gone = Counter(states.values()), Counter(state for key, state in states.items() if key not in shots)
    bad = sum(gone[kind] for kind in BAD_FILES)
    found = [key for key, count in shots.items() if count > 1]
    right = sum(states[key] == CUT for key in found)
    return {
        "bad_files_recall": bad / max(sum(met[kind] for kind in BAD_FILES), 1),
        "bad_files_precision": bad / max(sum(gone.values()), 1),
        "odd_files_kept": {kind: 1 - gone[kind] / met[kind] for kind in ODD_FILES if met[kind]},
        "cut_recall": right / max(met[CUT], 1),
        "cut_precision": right / max(len(found), 1),
    }


if __name__ == "__main__":
    stage.main(clean)
