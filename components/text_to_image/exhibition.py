"""What a person looks at: grids of pictures, the worst and the best, what lies nearest in the training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.text_to_image.grid import Row, write_grid
from components.text_to_image.pictures import to_pictures

if TYPE_CHECKING:
    from components.text_to_image.measuring import Measures
    from components.text_to_image.memorisation import Memorisation
    from components.text_to_image.trial import Trial

PROMPTS_SHOWN = 10
GALLERY = "gallery"  # as dvc.yaml calls it: while a stage runs its outputs have other names


class Exhibition:
    """Files below `gallery`, and the lists that tell the report of them."""

    def __init__(self, trial: Trial, measures: Measures, gallery: Path) -> None:
        self.trial, self.measures, self.gallery = trial, measures, gallery
        gallery.mkdir(parents=True, exist_ok=True)
        count = len(trial.pairs)
        self.shown = np.unique(np.linspace(0, count - 1, min(PROMPTS_SHOWN, count)).astype(int)).tolist()

    def samples(self, rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """The worst, the best and some arbitrary pictures by CLIPScore, each beside the real picture of its prompt."""
        order = sorted(range(len(rows)), key=lambda index: (rows[index]["metrics"]["clip_score"], rows[index]["id"]))
        each = max(count // 3, 1)
        step = max(len(order) // each, 1)
        kinds = [
            ("bad", order[:each]),
            ("good", order[::-1][:each]),
            ("random", list(range(0, len(rows), step))[:each]),
        ]
        return [self._sample(kind, index, rows[index]) for kind, chosen in kinds for index in chosen]

    def _sample(self, kind: str, index: int, row: dict[str, Any]) -> dict[str, Any]:
        pair, painted = self.trial.pairs[index], self.trial.painted[self.trial.chosen][index : index + 1]
        to_pictures(painted)[0].save(self.gallery / f"{pair.key}.png", compress_level=9)
        to_pictures(self.trial.real[index : index + 1])[0].save(self.gallery / f"{pair.key}-real.png", compress_level=9)
        fields = {"prompt": pair.caption}
        if "all_four" in row["metrics"]:
            wrong = [
                name for name, value in row["metrics"].items() if value == 0 and name not in {"clip_score", "all_four"}
            ]
            fields["the judge misses"] = ", ".join(wrong) or "nothing"
        return {
            "id": pair.key,
            "kind": kind,
            "pictures": {
                "painted": f"{GALLERY}/{pair.key}.png",
                "real": f"{GALLERY}/{pair.key}-real.png",
            },
            "fields": fields,
            "score": row["metrics"]["clip_score"],
        }

    def pictures(self, memory: Memorisation, super_resolution: Path) -> list[dict[str, str]]:
        return [self._guidances(), self._optimised(), self._enlarged(super_resolution), self._nearest(memory)]

    def _guidances(self) -> dict[str, str]:
        ways = [way for way in self.trial.painted if way.startswith("guidance")]
        rows = [
            Row(self.trial.prompts[i], [self.trial.painted[way][i] for way in ways] + [self.trial.real[i]])
            for i in self.shown
        ]
        write_grid(self.gallery / "guidances.png", rows, [*ways, "real"])
        note = "One seed a row; on the right the real picture with that caption."
        return {"title": "Samples at several guidances", "note": note, "file": f"{GALLERY}/guidances.png"}

    def _optimised(self) -> dict[str, str]:
        ways = [self.trial.chosen, "student", "teacher in few steps", "int8"]
        rows = [Row(self.trial.prompts[i], [self.trial.painted[way][i] for way in ways]) for i in self.shown]
        write_grid(self.gallery / "optimised.png", rows, ["teacher", "student", "teacher, few steps", "int8"])
        note = f"The teacher takes {self.trial.params.sampling.steps} steps with guidance; the student needs none."
        return {"title": "Teacher and what was made of it", "note": note, "file": f"{GALLERY}/optimised.png"}

    def _enlarged(self, folder: Path) -> dict[str, str]:
        from components.text_to_image.upscaler import Upscaler, bicubic

        upscaler = Upscaler.load(folder)
        small = self.trial.painted[self.trial.chosen][self.shown]
        plain, made = bicubic(small, upscaler.factor).clamp(0, 1), upscaler.upscale(small)
        rows = [Row(self.trial.prompts[i], [plain[n], made[n]]) for n, i in enumerate(self.shown)]
        write_grid(self.gallery / "enlarged.png", rows, ["bicubic", "super-resolution"], cell_px=128)
        return {
            "title": "Super-resolution of painted pictures",
            "note": "",
            "file": f"{GALLERY}/enlarged.png",
        }

    def _nearest(self, memory: Memorisation) -> dict[str, str]:
        painted, found = self.trial.painted[self.trial.chosen], memory.painted
        nearest = self.trial.pixels([memory.train[int(found.numbers[i])] for i in self.shown])
        rows = [
            Row(f"{self.trial.prompts[i]} (distance {found.distances[i]:.3f})", [painted[i], nearest[n]])
            for n, i in enumerate(self.shown)
        ]
        write_grid(self.gallery / "nearest.png", rows, ["painted", "nearest in training"])
        note = "Equal pictures would be remembered, not painted. Distance: root of the mean square, of 1."
        return {"title": "Nearest training picture", "note": note, "file": f"{GALLERY}/nearest.png"}

    def charts(self, figures: dict[str, Any]) -> list[dict[str, Any]]:
        guidances = sorted(self.trial.params.guidances)
        charts = [
            {
                "title": "CLIPScore by guidance",
                "kind": "lines",
                "xlabel": "guidance",
                "series": {"painted": [[g, figures[f"clip_score_guidance_{g:g}"]] for g in guidances]},
            }
        ]
        if "by_way" in figures:
            series = {
                kind: [[g, figures["by_way"][f"guidance {g:g}"][kind]] for g in guidances]
                for kind in ("seen", "unseen")
            }
            charts.append(
                {
                    "title": "All four attributes right, by guidance",
                    "kind": "lines",
                    "xlabel": "guidance",
                    "series": series,
                }
            )
            ways = {way: found["all"] for way, found in figures["by_way"].items()}
            charts.append({"title": "All four attributes right", "kind": "bars", "xlabel": "share", "values": ways})
        return charts
