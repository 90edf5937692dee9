"""What a person looks at: clips that play, the worst and the best, and what the distances say of worsened clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.scoring.evaluation import GALLERY, shown_samples
from components.engines.videos.buckets import to_frames
from components.engines.videos.encode import encode_webp
from components.text_to_video.measures.distances import ORDER

if TYPE_CHECKING:
    from components.text_to_video.measures.trial import Trial

SHOWN, _FACTOR, _GAP = 10, 3, 4
FPS = 8  # of what is shown


class Exhibition:
    """Files below `gallery`, and the lists that tell the report of them."""

    def __init__(self, trial: Trial, gallery: Path) -> None:
        self.trial, self.gallery = trial, gallery
        gallery.mkdir(parents=True, exist_ok=True)

    def samples(self, rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """The worst, the best and some arbitrary clips, each beside the real one of its prompt."""
        by = "all_right" if "all_right" in rows[0]["metrics"] else "clip_similarity"
        order = sorted(range(len(rows)), key=lambda place: (rows[place]["metrics"][by], rows[place]["id"]))
        return shown_samples(order, count, lambda place: self._sample(place, rows[place], by))

    def _sample(self, place: int, row: dict[str, Any], by: str) -> dict[str, Any]:
        video, trial = self.trial.videos[place], self.trial
        pictures = {}
        for name, clips in (("generated", trial.generated), ("real", trial.real)):
            file = f"{video.key}-{name}.webp"
            (self.gallery / file).write_bytes(encode_webp(to_frames(clips[place]), FPS))
            pictures[name] = f"{GALLERY}/{file}"
        fields = {"prompt": video.caption}
        if by == "all_right":
            told = ("colour", "shape", "direction", "speed", "turn")
            fields["the judge misses"] = ", ".join(name for name in told if not row["metrics"][name]) or "nothing"
        return {"id": video.key, "pictures": pictures, "fields": fields, "score": row["metrics"][by]}

    def pictures(self) -> list[dict[str, str]]:
        """Two rows of clips that play side by side: generated, and below them the real ones of the same prompts."""
        trial = self.trial
        places = np.unique(np.linspace(0, len(trial.videos) - 1, SHOWN).astype(int)).tolist()
        rows = [
            np.concatenate([_framed(to_frames(clips[place])) for place in places], 2)
            for clips in (trial.generated, trial.real)
        ]
        (self.gallery / "clips.webp").write_bytes(encode_webp(np.concatenate(rows, 1), FPS))
        decoded = [
            np.concatenate([_framed(to_frames(clips[place])) for place in places], 2)
            for clips in (trial.real, trial.reconstructed)
        ]
        (self.gallery / "reconstructed.webp").write_bytes(encode_webp(np.concatenate(decoded, 1), FPS))
        prompts = " · ".join(trial.prompts[place] for place in places)
        return [
            {
                "title": "Generated clips",
                "note": f"Below each the real clip of its prompt. {prompts}",
                "file": f"{GALLERY}/clips.webp",
            },
            {
                "title": "Autoencoder: encoded and decoded again",
                "note": "Above real clips, below what the autoencoder makes of them: no generated clip can be finer.",
                "file": f"{GALLERY}/reconstructed.webp",
            },
        ]

    def charts(self, figures: dict[str, Any]) -> list[dict[str, Any]]:
        fvd = {name: figures[f"fvd_motion_network_{name}_clips"] for name in (*ORDER, "noise")}
        frame = {name: value for name in ORDER if (value := figures.get(f"frame_fid_clip_{name}_clips")) is not None}
        charts = [
            {
                "title": "FVD (motion network) of worsened real clips",
                "kind": "bars",
                "xlabel": "distance",
                "values": fvd,
            },
            {
                "title": "Frame-wise distance of the same: blind to order",
                "kind": "bars",
                "xlabel": "distance",
                "values": frame,
            },
        ]
        if "motion_by_guidance" in figures:
            values = figures["motion_by_guidance"]
            charts.append({"title": "Motion right, by guidance", "kind": "bars", "xlabel": "share", "values": values})
        return charts


def _framed(frames: np.ndarray) -> np.ndarray:
    """Every pixel as it is, larger, with a white edge."""
    large = frames.repeat(_FACTOR, 1).repeat(_FACTOR, 2)
    return np.pad(large, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
