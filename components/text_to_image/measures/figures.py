"""How good painted pictures are: all figures of a trial by name, and the scores of single prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.captioned.dataset import CaptionedImages
from components.engines.diffusion.quantization import weight_bytes
from components.engines.images.pixels import to_pictures
from components.engines.nn.device import own_device
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.embedder import Embedder
from components.engines.scoring.image_sets.distances import distances, reconstruction_loss
from components.engines.scoring.image_sets.memorization import Memorization
from components.engines.scoring.metrics import compute, sentence_scores
from components.engines.scoring.modules.clip_score import clip_score
from components.engines.scoring.modules.psnr import psnr
from components.engines.scoring.perceptual import ClipFeatures
from components.engines.super_resolution.gain import upscaling_gain
from components.engines.super_resolution.upscaler import Upscaler
from components.text_to_image.measures.judged import Verdicts
from components.text_to_image.networks.judge import Judge

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_image.measures.trial import Trial

SLICED = ("all_four", "clip_score")  # metrics that are told of each slice too


class Measures:
    """Figures of a trial. What needs to know the truth is absent where nobody knows it."""

    def __init__(self, trial: Trial, clip: Path, judge: Path) -> None:
        self.trial, self.embedder, self.features = (
            trial,
            Embedder.load(clip).to(own_device()),
            ClipFeatures.load(clip).to(own_device()),
        )
        found = Judge.load(judge)
        self.verdicts = Verdicts(trial, found.to(own_device())) if found else None
        self.texts = self.embedder.embed_texts(trial.prompts).numpy()
        self.order = np.random.default_rng(derive(trial.params.seed, "shuffled")).permutation(len(trial.pairs))

    def example_rows(self) -> list[dict[str, Any]]:
        """One row a prompt: slices and metrics of the chosen sampling setting."""
        painted = self.trial.painted[self.trial.chosen]
        columns: dict[str, Any] = {"clip_score": self._clip_scores(painted)}
        if self.verdicts:
            columns |= {name: values.astype(float).tolist() for name, values in self.verdicts.right(painted).items()}
        unseen = self.trial.unseen
        return [
            {
                "id": one.key,
                "slices": {"combination": "unseen" if unseen[index] else "seen", "shape": one.scene["shape"]}
                if one.scene
                else {"length": length_bucket(len(one.caption.split()))},
                "metrics": {name: values[index] for name, values in columns.items()},
            }
            for index, one in enumerate(self.trial.pairs)
        ]

    def figures(
        self, rows: list[dict[str, Any]], curated: Path, super_resolution: Path, memory: Memorization
    ) -> dict[str, Any]:
        """All of them by name; `<figure>_<control>` stand beside what they are compared with."""
        trial, upscaler = self.trial, Upscaler.load(super_resolution).to(own_device())

        def mean(name: str, members: list[int]) -> float:
            return float(np.mean([rows[index]["metrics"][name] for index in members]))

        names, everyone = list(rows[0]["metrics"]), list(range(len(rows)))
        sliced = [name for name in names if name in SLICED]
        return {
            **{name: mean(name, everyone) for name in names},
            **(self.verdicts.figures(self.order) if self.verdicts else {}),
            **self._fit(),
            **distances(self._sets(curated), trial.real, self.features, trial.params.seed),
            **reconstruction_loss(trial.real, trial.reconstructed, self.features),
            **upscaling_gain(upscaler, [one.open() for one in trial.pairs], trial.image_px),
            **likeness_to_teacher(trial, self.order),
            **memory.figures(),
            "bytes_int8_over_fp32": weight_bytes(trial.quantized) / _fp32_bytes(trial.teacher.network),
            "test_prompts": len(rows),
            "slices": by_slice(
                [row["slices"] for row in rows], lambda members: {name: mean(name, members) for name in sliced}
            ),
        }

    def _sets(self, curated: Path) -> dict[str, Tensor]:
        """What is compared with the real test pictures; training pictures are the oracle."""
        trial, train = self.trial, CaptionedImages(curated, "train")
        return {
            "": trial.painted[trial.chosen],
            "_student": trial.painted["student"],
            "_training_images": trial.pixels(train[: len(trial.pairs)]),
        }

    def _fit(self) -> dict[str, float]:
        """CLIPScore of every sampling setting, of the real pictures, and of pictures painted for other prompts."""
        trial = self.trial
        painted = {setting: images for setting, images in trial.painted.items() if setting != "ddpm"}
        scores = {
            f"clip_score_{setting.replace(' ', '_')}": self._clip_scores(images) for setting, images in painted.items()
        }
        scores["clip_score_real_images"] = self._clip_scores(trial.real)
        scores["clip_score_shuffled_prompts"] = self._clip_scores(trial.painted[trial.chosen][self.order])
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _clip_scores(self, images: Tensor) -> list[float]:
        """CLIPScore of picture i with prompt i."""
        return sentence_scores(clip_score, self.embedder.embed_images(to_pictures(images)).numpy(), self.texts)


def likeness_to_teacher(trial: Trial, order: np.ndarray) -> dict[str, float]:
    """How near the optimised networks' pictures are to the teacher's of the same seed (PSNR), beside the teacher's in as few
    steps and those of other prompts, as `order` [n] names them."""
    painted = trial.painted
    teacher = painted[trial.chosen]
    others = {
        "student": painted["student"],
        "few_steps": painted["teacher in few steps"],
        "int8": painted["int8"],
        "shuffled": teacher[order],
    }
    return {f"psnr_to_teacher_{name}": compute(psnr, images, teacher)["psnr"] for name, images in others.items()}


def _fp32_bytes(network: Any) -> int:
    return sum(4 * parameter.numel() for parameter in network.parameters())
