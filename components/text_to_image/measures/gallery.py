"""What a person looks at: grids of pictures, the worst and the best, what lies nearest in the training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.images.grid import Row, write_grid
from components.engines.images.pixels import to_pictures
from components.engines.scoring.evaluation import GALLERY, shown_samples

if TYPE_CHECKING:
    from components.engines.scoring.image_sets.memorization import Memorization
    from components.text_to_image.measures.figures import Measures
    from components.text_to_image.measures.trial import Trial

PROMPTS_SHOWN = 10


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
        return shown_samples(order, count, lambda index: self._sample(index, rows[index]))

    def _sample(self, index: int, row: dict[str, Any]) -> dict[str, Any]:
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
            "pictures": {
                "painted": f"{GALLERY}/{pair.key}.png",
                "real": f"{GALLERY}/{pair.key}-real.png",
            },
            "fields": fields,
            "score": row["metrics"]["clip_score"],
        }

    def pictures(self, memory: Memorization, super_resolution: Path) -> list[dict[str, str]]:
        return [
            self._guidances(),
            self._optimised(),
            self._reconstructed(),
            self._enlarged(super_resolution),
            self._nearest(memory),
        ]

    def _guidances(self) -> dict[str, str]:
        settings = [setting for setting in self.trial.painted if setting.startswith("guidance")]
        rows = [
            Row(self.trial.prompts[i], [self.trial.painted[setting][i] for setting in settings] + [self.trial.real[i]])
            for i in self.shown
        ]
        write_grid(self.gallery / "guidances.png", rows, [*settings, "real"])
        note = "One seed a row; on the right the real picture with that caption."
        return {"title": "Samples at several guidances", "note": note, "file": f"{GALLERY}/guidances.png"}

    def _optimised(self) -> dict[str, str]:
        settings = [self.trial.chosen, "student", "teacher in few steps", "int8"]
        rows = [
            Row(self.trial.prompts[i], [self.trial.painted[setting][i] for setting in settings]) for i in self.shown
        ]
        write_grid(self.gallery / "optimised.png", rows, ["teacher", "student", "teacher, few steps", "int8"])
        note = f"The teacher takes {self.trial.params.sampling.steps} steps with guidance; the student needs none."
        return {"title": "Teacher and what was made of it", "note": note, "file": f"{GALLERY}/optimised.png"}

    def _reconstructed(self) -> dict[str, str]:
        trial = self.trial
        rows = [Row(trial.prompts[i], [trial.real[i], trial.reconstructed[i]]) for i in self.shown]
        write_grid(self.gallery / "reconstructed.png", rows, ["real", "decoded"])
        note = "Real pictures, and what the autoencoder makes of them: no painted picture can be finer than this."
        return {"title": "Autoencoder: encoded and decoded again", "note": note, "file": f"{GALLERY}/reconstructed.png"}

    def _enlarged(self, folder: Path) -> dict[str, str]:
        from components.engines.nn.device import own_device
        from components.engines.super_resolution.upscaler import Upscaler, bicubic

        upscaler = Upscaler.load(folder).to(own_device())
        small = self.trial.painted[self.trial.chosen][self.shown]
        plain, made = bicubic(small, upscaler.factor).clamp(0, 1), upscaler.upscale(small)
        rows = [Row(self.trial.prompts[i], [plain[n], made[n]]) for n, i in enumerate(self.shown)]
        write_grid(self.gallery / "enlarged.png", rows, ["bicubic", "super-resolution"], cell_px=128)
        return {
            "title": "Super-resolution of painted pictures",
            "note": "Left as bicubic enlargement makes them, right as the upscaler does.",
            "file": f"{GALLERY}/enlarged.png",
        }

    def _nearest(self, memory: Memorization) -> dict[str, str]:
        painted, found = self.trial.painted[self.trial.chosen], memory.generated
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
            settings = {setting: found["all"] for setting, found in figures["by_way"].items()}
            charts.append({"title": "All four attributes right", "kind": "bars", "xlabel": "share", "values": settings})
        return charts
