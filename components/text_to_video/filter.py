"""The filters: every clip gets its scores; what falls short of a threshold is marked with the filter's name, nothing is lost."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import MaxBadFraction, Params, Workers
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext

if TYPE_CHECKING:
    import numpy as np

    from components.engines.videos.dataset import Video

LEARNT_SPLITS = ("train", "valid")  # what is for testing stays as it is
SCORES, MARKED = "scores", "marked"


class Thresholds(Params):
    """What a clip must score at least; see engines/videos/signals.py for what the scores are.

    `motion`: share of pixels that move. `colourfulness` stands for taste: dull clips teach dullness. `no_text`: strokes of text
    over the picture, negated. `motion_fit`: cosine between how the clip moves and the directions that its caption names.
    """

    motion: float = 0.002
    colourfulness: float = 20.0
    no_text: float = -4.0
    motion_fit: Annotated[float, Field(ge=-1, le=1)] = 0.85


class Filter(Params):
    """Clips below any threshold are marked (`genworks whatif` shows other thresholds). Pictures do not move."""

    thresholds: Thresholds = Thresholds()
    workers: Workers = 0
    max_bad_fraction: MaxBadFraction = 0.01


def filter(
    params: Filter,
    context: StageContext,
    cleaned: Path,
    scored: Path,
    filter_scores: Path,
    filter_charts: Path,
    filtering: Path,
) -> None:
    """Score every clip through the shard map.

    `scored` holds all clips with scores and marks; `filter_scores` (CSV) the scores alone; `filtering` the figures: how many are
    marked by each filter and, where the source tells the truth, precision and recall of the marks.
    """
    from components.engines.shards.map_shards import map_shards

    map_shards(
        partial(Scoring, params.thresholds),
        cleaned,
        scored,
        work=context.work / "map",
        workers=params.workers,
        max_bad_fraction=params.max_bad_fraction,
    )
    rows = _rows(scored)
    thresholds = params.thresholds.model_dump()
    with filter_scores.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "split", "filter", "score", "wrong"])
        for row in rows:
            for name, score in row[SCORES].items():
                wrong = "" if row["state"] is None else int(row["state"] == STATES[name])
                writer.writerow([row["key"], row["split"], name, f"{score:.6f}", wrong])
    write_json(filtering, figures(rows, thresholds))
    counts = {
        name: sum(row[SCORES].get(name, thresholds[name]) < thresholds[name] for row in rows) for name in thresholds
    }
    write_json(
        filter_charts, [{"title": "Clips marked, by filter", "kind": "bars", "xlabel": "clips", "values": counts}]
    )


# What of the sample world's dirt each filter is there for.
STATES = {"motion": "frozen", "colourfulness": "dull", "no_text": "text", "motion_fit": "wrong motion"}


class Scoring:
    """Adds scores and marks (a `Mapper` of the shard map)."""

    batch_size = 32

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds.model_dump()

    def decode(self, sample: dict[str, Any]) -> tuple[Video, dict[str, float]]:
        from components.engines.videos.dataset import Video

        found = Video.from_sample(sample)
        return found, scores(found.frames(), found.caption)

    def apply(self, items: list[tuple[Video, dict[str, float]]]) -> list[dict[str, Any]]:
        from dataclasses import replace

        answers = []
        for video, found in items:
            marked = [name for name, score in found.items() if score < self.thresholds[name]]
            answers.append(replace(video, metadata={**video.metadata, SCORES: found, MARKED: marked}).to_sample())
        return answers


def scores(frames: np.ndarray, caption: str) -> dict[str, float]:
    """By filter; those that say nothing of this clip (a picture's motion, a caption without a direction) are left out."""
    from components.engines.videos import signals

    found: dict[str, float | None] = {
        "colourfulness": signals.colourfulness(frames),
        "no_text": -signals.text_strokes(frames),
    }
    if len(frames) > 1:
        found["motion"] = signals.motion(frames)
        found["motion_fit"] = signals.motion_fit(caption, signals.flow(frames))
    return {name: round(score, 6) for name, score in found.items() if score is not None}


def _rows(scored: Path) -> list[dict[str, Any]]:
    from components.engines.videos.dataset import Videos

    return [
        {
            "key": one.key,
            "split": split,
            SCORES: one.metadata[SCORES],
            MARKED: one.metadata[MARKED],
            "state": (one.metadata.get("truth") or {}).get("state"),
        }
        for split in LEARNT_SPLITS
        for one in Videos(scored, split)
    ]


def figures(rows: list[dict[str, Any]], thresholds: dict[str, float]) -> dict[str, Any]:
    """`precision`: of the marked clips, the share with that dirt; `recall`: of those with it, the share marked; all, and each."""
    marked = [bool(row[MARKED]) for row in rows]
    found: dict[str, Any] = {
        "thresholds": thresholds,
        "clips": len(rows),
        "marked": sum(marked),
        "yield": 1 - sum(marked) / len(rows),
        "marked_by": {name: sum(name in row[MARKED] for row in rows) for name in thresholds},
    }
    if any(row["state"] is None for row in rows):
        return found
    dirty = [row["state"] in STATES.values() for row in rows]
    found |= _share("", marked, dirty)
    for name, state in STATES.items():
        found |= _share(f"_{name}", [name in row[MARKED] for row in rows], [row["state"] == state for row in rows])
    return {**found, "precision_of_chance": sum(dirty) / len(rows)}


def _share(ending: str, marked: list[bool], dirty: list[bool]) -> dict[str, float]:
    both = sum(a and b for a, b in zip(marked, dirty, strict=True))
    shares = {"precision": (both, sum(marked)), "recall": (both, sum(dirty))}
    return {f"{name}{ending}": part / whole for name, (part, whole) in shares.items() if whole}


if __name__ == "__main__":
    stage.main(filter)
