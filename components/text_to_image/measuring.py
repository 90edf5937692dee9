"""How good painted pictures are: what they show, how well they fit their prompts, how far they are from real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from components.engines.base.seeds import derive
from components.engines.captioned.dataset import CaptionedImages
from components.engines.scoring.embedder import Embedder
from components.engines.scoring.metrics import compute, sentence_scores
from components.engines.scoring.modules.clip_score import clip_score
from components.engines.scoring.modules.fid import fid
from components.engines.scoring.modules.inception_score import inception_score
from components.engines.scoring.modules.kid import kid
from components.engines.scoring.modules.lpips import lpips
from components.engines.scoring.modules.psnr import psnr
from components.engines.scoring.modules.swd import swd
from components.engines.scoring.perceptual import ClipFeatures, features_of
from components.engines.worlds.scenes import ATTRIBUTES
from components.text_to_image.judge import Judge
from components.text_to_image.pictures import to_pictures
from components.text_to_image.quantising import weight_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_image.memorisation import Memorisation
    from components.text_to_image.trial import Trial

FOUR = (
    "colour",
    "shape",
    "position",
    "size",
)  # what "all four" is about; a fifth, texture, varies where the data have it


class Measures:
    """Figures of a trial. What needs to know the truth is absent where nobody knows it."""

    def __init__(self, trial: Trial, clip: Path, judge: Path) -> None:
        self.trial, self.embedder, self.features = trial, Embedder.load(clip), ClipFeatures.load(clip)
        self.judge = Judge.load(judge)
        self.texts = self.embedder.embed_texts(trial.prompts).numpy()
        self.order = np.random.default_rng(derive(trial.params.seed, "shuffled")).permutation(len(trial.pairs))

    def right(self, images: Tensor, prompts: slice = slice(None)) -> dict[str, np.ndarray]:
        """Per attribute whether the judge sees in picture i what prompt i says, bool [n]; and `all_four` at once."""
        assert self.judge is not None
        seen = self.judge.predict(images)
        told = [one.scene or {} for one in self.trial.pairs[prompts]]
        found = {
            name: np.array([values[int(number)] == scene[name] for number, scene in zip(seen[name], told, strict=True)])
            for name, values in ATTRIBUTES.items()
        }
        return {**found, "all_four": np.all([found[name] for name in FOUR], axis=0)}

    def clip_scores(self, images: Tensor, prompts: slice = slice(None)) -> list[float]:
        """CLIPScore of each picture with its prompt."""
        return sentence_scores(clip_score, self._embedded(images), self.texts[prompts])

    def _embedded(self, images: Tensor) -> np.ndarray:
        return self.embedder.embed_images(to_pictures(images)).numpy()

    def example_rows(self) -> list[dict[str, Any]]:
        """One row a prompt: slices and metrics of the chosen way of painting."""
        from components.engines.scoring.buckets import length_bucket

        painted = self.trial.painted[self.trial.chosen]
        columns: dict[str, Any] = {"clip_score": self.clip_scores(painted)}
        if self.judge is not None:
            columns |= {name: values.astype(float).tolist() for name, values in self.right(painted).items()}
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
        self, rows: list[dict[str, Any]], curated: Path, super_resolution: Path, memory: Memorisation
    ) -> dict[str, Any]:
        """All of them by name; `<figure>_<control>` stand beside what they are compared with."""
        from components.engines.scoring.buckets import by_slice

        trial = self.trial
        names = list(rows[0]["metrics"])
        figures: dict[str, Any] = {name: float(np.mean([row["metrics"][name] for row in rows])) for name in names}
        figures |= self._truths() if self.judge is not None else {}
        figures |= self._fit()
        figures |= self._distances(curated)
        figures |= self._autoencoder()
        figures |= self._enlargement(super_resolution)
        figures |= self._likeness()
        figures |= memory.figures()
        figures["bytes_int8_over_fp32"] = weight_bytes(trial.optimised / "int8") / size_of_network(
            trial.teacher.network
        )
        figures["test_prompts"] = len(rows)
        figures["slices"] = by_slice(
            [row["slices"] for row in rows],
            lambda members: {
                name: float(np.mean([rows[i]["metrics"][name] for i in members]))
                for name in names
                if name in {"all_four", "clip_score"}
            },
        )
        return figures

    def _truths(self) -> dict[str, Any]:
        """What the judge says of every way of painting, on combinations that training saw and on those it did not."""
        trial, unseen = self.trial, self.trial.unseen
        right = {way: self.right(images)["all_four"] for way, images in trial.painted.items() if way != "ddpm"}
        kinds = {"all": np.full(len(unseen), True), "seen": ~unseen, "unseen": unseen}
        sweep = {
            way: {kind: float(found[members].mean()) for kind, members in kinds.items() if members.any()}
            for way, found in right.items()
        }
        guided = [way for way in sweep if way.startswith("guidance")]
        best = max(guided, key=lambda way: sweep[way]["all"])
        chosen, real = sweep[trial.chosen], self.right(trial.real)
        figures: dict[str, Any] = {
            **{f"all_four_{kind}": share for kind, share in chosen.items() if kind != "all"},
            "all_four_best_guidance": sweep[best]["all"],
            **{f"all_four_best_guidance_{kind}": share for kind, share in sweep[best].items() if kind != "all"},
            "best_guidance": float(best.split()[-1]),
            "all_four_real_images": float(real["all_four"].mean()),
            "all_four_reconstructed": float(self.right(trial.reconstructed)["all_four"].mean()),
            "all_four_shuffled_prompts": float(self.right(trial.painted[trial.chosen][self.order])["all_four"].mean()),
            "judge_worst_attribute": min(float(values.mean()) for name, values in real.items() if name in FOUR),
            "by_way": sweep,
        }
        if chosen["all"]:
            figures |= {f"{way}_over_teacher": sweep[way]["all"] / chosen["all"] for way in ("student", "int8")}
        if name_of_one := next((way for way in guided if way == "guidance 1"), None):
            figures["guidance_gain"] = sweep[best]["all"] - sweep[name_of_one]["all"]
        if trial.params.num_ddpm:
            some = slice(0, trial.params.num_ddpm)
            slow = float(self.right(trial.painted["ddpm"], some)["all_four"].mean())
            fast = float(right[trial.chosen][some].mean())
            figures |= {"all_four_ddpm": slow, "all_four_same_prompts": fast, "few_steps_loss": slow - fast}
        logits = {
            "": trial.painted[trial.chosen],
            "_real_images": trial.real,
            "_one_image": trial.real[:1].expand_as(trial.real),
        }
        for control, images in logits.items():
            figures[f"is_judge{control}"] = self._inception_score(images)
        return figures

    def _inception_score(self, images: Tensor) -> float:
        assert self.judge is not None
        classes = self.judge.joint_log_probabilities(images).numpy()
        score: float = compute(inception_score, classes, network="judge", splits=1)["is_judge"]
        return score

    def _fit(self) -> dict[str, float]:
        """CLIPScore of every way of painting, of the real pictures, and of pictures painted for other prompts."""
        trial = self.trial
        painted = {way: images for way, images in trial.painted.items() if way != "ddpm"}
        scores = {f"clip_score_{way.replace(' ', '_')}": self.clip_scores(images) for way, images in painted.items()}
        scores["clip_score_real_images"] = self.clip_scores(trial.real)
        scores["clip_score_shuffled_prompts"] = self.clip_scores(trial.painted[trial.chosen][self.order])
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _distances(self, curated: Path) -> dict[str, float]:
        """Fréchet, kernel and sliced Wasserstein distance from the real test pictures: of the painted ones, of training
        pictures (the oracle), of noise and of their mean picture (trivial)."""
        trial = self.trial
        train = CaptionedImages(curated, "train")
        generator = torch.Generator().manual_seed(derive(trial.params.seed, "noise"))
        sets = {
            "": trial.painted[trial.chosen],
            "_student": trial.painted["student"],
            "_training_images": trial.pixels(train[: len(trial.pairs)]),
            "_noise": torch.rand(trial.real.shape, generator=generator),
            "_mean_image": trial.real.mean(0, keepdim=True).expand_as(trial.real),
        }
        real = features_of(self.features, trial.real).numpy()
        subset = min(100, len(real))
        figures = {}
        for control, images in sets.items():
            found = features_of(self.features, images).numpy()
            if len(found) > 1:
                figures[f"fid_clip{control}"] = compute(fid, found, real, network="clip")["fid_clip"]
            if len(found) >= subset:
                kernel = compute(kid, found, real, network="clip", subset_size=subset)
                figures[f"kid_clip{control}"] = kernel["kid_clip"]
            if min(trial.real.shape[2:]) >= 16:
                figures[f"swd{control}"] = compute(swd, images, trial.real)["swd"]
        return figures

    def _autoencoder(self) -> dict[str, float]:
        """How much a picture loses by encoding and decoding, beside the mean picture in place of each."""
        real, made = self.trial.real, self.trial.reconstructed
        mean = real.mean(0, keepdim=True).expand_as(real)
        return {
            "psnr_autoencoder": compute(psnr, made, real)["psnr"],
            "psnr_mean_image": compute(psnr, mean, real)["psnr"],
            "lpips_clip_autoencoder": compute(lpips, made, real, network=self.features)["lpips_clip"],
            "lpips_clip_mean_image": compute(lpips, mean, real, network=self.features)["lpips_clip"],
        }

    def _likeness(self) -> dict[str, float]:
        """How near the optimised networks' pictures are to the teacher's of the same seed (PSNR), beside the teacher's in as few
        steps and those of other prompts."""
        painted = self.trial.painted
        teacher = painted[self.trial.chosen]
        others = {
            "student": painted["student"],
            "few_steps": painted["teacher in few steps"],
            "int8": painted["int8"],
            "shuffled": teacher[self.order],
        }
        return {f"psnr_to_teacher_{name}": compute(psnr, images, teacher)["psnr"] for name, images in others.items()}

    def _enlargement(self, folder: Path) -> dict[str, float]:
        """The upscaler against bicubic enlargement, on test pictures that are large enough to be made small first."""
        from components.text_to_image.pictures import to_unit
        from components.text_to_image.upscaler import Upscaler, bicubic

        upscaler = Upscaler.load(folder)
        px = self.trial.image_px * upscaler.factor
        large = [one.open() for one in self.trial.pairs]
        large = [picture for picture in large if min(picture.size) >= px]
        if not large:
            return {}
        originals = to_unit(large, px)
        small = to_unit(large, self.trial.image_px)
        made, plain = upscaler.upscale(small), bicubic(small, upscaler.factor).clamp(0, 1)
        ours, theirs = compute(psnr, made, originals)["psnr"], compute(psnr, plain, originals)["psnr"]
        return {"psnr_upscaled": ours, "psnr_bicubic": theirs, "upscaling_gain": ours - theirs}


def size_of_network(network: Any) -> int:
    """Bytes of a network's weights in fp32."""
    return sum(4 * parameter.numel() for parameter in network.parameters())
