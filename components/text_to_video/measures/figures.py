"""How good generated clips are: all figures of a trial by name, and the scores of single prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.images.pixels import to_pictures
from components.engines.nn.device import own_device
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.embedder import Embedder
from components.engines.scoring.image_sets.distances import distances, reconstruction_loss
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.inception_score import inception_score
from components.engines.scoring.modules.psnr import psnr
from components.engines.scoring.perceptual import ClipFeatures
from components.engines.super_resolution.gain import upscaling_gain
from components.engines.super_resolution.interpolator import Interpolator, repeated
from components.engines.super_resolution.upscaler import Upscaler
from components.engines.videos.buckets import resized, to_frames
from components.engines.videos.signals import flow, jerkiness
from components.text_to_video.measures.distances import frame_distances, frames_of, video_distances, worsened
from components.text_to_video.networks.motion_network import MotionJudge

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_video.measures.trial import Trial

MOTION, LOOKS = ("direction", "turn"), ("colour", "shape")
_SR_CLIPS = 64


class Measures:
    """Figures of a trial. What needs to know the truth is absent where nobody knows it."""

    def __init__(self, trial: Trial, clip: Path, judge: Path) -> None:
        self.trial = trial
        self.embedder = Embedder.load(clip).to(own_device())
        self.features = ClipFeatures.load(clip).to(own_device())
        self.judge = MotionJudge.load(judge).to(own_device())
        self.knows = all(one.scene for one in trial.videos)
        self.order = np.random.default_rng(derive(trial.params.seed, "shuffled")).permutation(len(trial.videos))

    def example_rows(self) -> list[dict[str, Any]]:
        """One row a prompt: slices and metrics at the chosen guidance."""
        trial = self.trial
        columns: dict[str, Any] = {"clip_similarity": self._similarities(trial.generated)}
        if self.knows:
            columns |= {name: values.astype(float).tolist() for name, values in self._right(trial.generated).items()}
        return [
            {
                "id": one.key,
                "slices": {
                    "combination": "unseen" if trial.unseen[place] else "seen",
                    "turns": "no" if one.scene["turn"] == "straight" else "yes",
                }
                if one.scene
                else {"length": length_bucket(len(one.caption.split()))},
                "metrics": {name: values[place] for name, values in columns.items()},
            }
            for place, one in enumerate(trial.videos)
        ]

    def figures(self, rows: list[dict[str, Any]], super_resolution: Path, interpolator: Path) -> dict[str, Any]:
        """All of them by name; `<figure>_<control>` stand beside what they are compared with."""
        trial = self.trial
        worse = worsened(trial.real, trial.params.seed)
        names = list(rows[0]["metrics"])

        def mean(name: str, members: list[int]) -> float:
            return float(np.mean([rows[place]["metrics"][name] for place in members]))

        return {
            **{name: mean(name, list(range(len(rows)))) for name in names},
            **(self._judged() if self.knows else {}),
            "clip_similarity_real_clips": float(np.mean(self._similarities(trial.real))),
            "clip_similarity_shuffled_prompts": float(np.mean(self._similarities(trial.generated[self.order]))),
            **self._distances(worse),
            **self._frames(),
            "jerkiness": self._jerkiness(trial.generated),
            "jerkiness_real_clips": self._jerkiness(trial.real),
            "jerkiness_shuffled_frames": self._jerkiness(worse["shuffled"]),
            **self._super_resolution(super_resolution, interpolator),
            "test_prompts": len(rows),
            "slices": by_slice(
                [row["slices"] for row in rows], lambda members: {name: mean(name, members) for name in names}
            ),
        }

    def _right(self, clips: Tensor) -> dict[str, np.ndarray]:
        """Per attribute whether the judge sees in clip i what prompt i says, and motion, looks and all at once: bool [n]."""
        seen = self.judge.predict(clips)
        told = [one.scene or {} for one in self.trial.videos]
        found = {
            name: np.array([value == scene[name] for value, scene in zip(values, told, strict=True)])
            for name, values in seen.items()
        }
        every = list(found.values())
        motion, looks = (np.all([found[name] for name in names], axis=0) for names in (MOTION, LOOKS))
        return {**found, "motion": motion, "looks": looks, "all_right": np.all(every, axis=0)}

    def _judged(self) -> dict[str, Any]:
        trial = self.trial
        found: dict[str, Any] = {}
        sets = {
            "_real_clips": trial.real,
            "_reconstructed": trial.reconstructed,
            "_shuffled_prompts": trial.generated[self.order],
        }
        for ending, clips in sets.items():
            right = self._right(clips)
            found |= {
                f"{name}{ending}": float(right[name].mean()) for name in ("motion", "looks", "all_right", "speed")
            }
        moved = {guidance: self._right(clips)["motion"] for guidance, clips in trial.made.items()}
        chosen = moved[trial.params.sampling.guidance]
        for kind, members in (("seen", ~trial.unseen), ("unseen", trial.unseen)):
            if members.any():
                found[f"motion_{kind}"] = float(chosen[members].mean())
        return {
            **found,
            "motion_by_guidance": {f"guidance {one:g}": float(right.mean()) for one, right in moved.items()},
        }

    def _similarities(self, clips: Tensor) -> list[float]:
        """CLIP's cosine of prompt and frame, averaged over the frames of each clip."""
        frames = clips.shape[2]
        seen = self.embedder.embed_images(to_pictures(frames_of(clips))).numpy()
        told = self.embedder.embed_texts(self.trial.prompts).numpy().repeat(frames, 0)
        found: list[float] = (seen * told).sum(1).reshape(-1, frames).mean(1).astype(float).tolist()
        return found

    def _distances(self, worse: dict[str, Tensor]) -> dict[str, Any]:
        """FVD of generated clips, of real ones, and of what was made of these; the frame-wise distance beside it."""
        trial = self.trial
        sets = {"": trial.generated, **{f"_{name}_clips": clips for name, clips in worse.items()}}
        found = video_distances(self.judge, sets, trial.reference)
        blind = {name: sets[name] for name in ("", "_real_clips", "_shuffled_clips", "_blurred_clips")}
        rising = [found[f"fvd_{self.judge.name}_{name}_clips"] for name in worse if name != "noise"]
        noise, shuffled = (found[f"fvd_{self.judge.name}_{name}_clips"] for name in ("noise", "shuffled"))
        ordered = rising == sorted(rising) and noise > shuffled
        return {**found, **frame_distances(self.features, blind, trial.reference), "fvd_order_holds": float(ordered)}

    def _frames(self) -> dict[str, float]:
        """Figures of single frames: they know nothing of time."""
        trial, middle = self.trial, self.trial.bucket.frames // 2
        made, real = (clips[:, :, middle] for clips in (trial.generated, trial.real))
        classes = self.judge.joint_log_probabilities(trial.generated).numpy()
        score = compute(inception_score, classes, network="judge", splits=1)["is_judge"]
        return {
            **distances(
                {"": made, "_training_clips": trial.reference[: len(real), :, middle]},
                real,
                self.features,
                trial.params.seed,
            ),
            **reconstruction_loss(frames_of(trial.real), frames_of(trial.reconstructed), self.features),
            "is_judge": score,
        }

    def _jerkiness(self, clips: Tensor) -> float:
        return float(np.median([jerkiness(flow(to_frames(one))) for one in clips]))

    def _super_resolution(self, upscaler: Path, interpolator: Path) -> dict[str, float]:
        """What both networks gain over what needs none, on real clips made small or slow first."""
        import torch
        from PIL import Image

        trial = self.trial
        large = [one.frames() for one in trial.videos[:_SR_CLIPS]]
        middles = [Image.fromarray(frames[len(frames) // 2]) for frames in large]
        found = upscaling_gain(Upscaler.load(upscaler).to(own_device()), middles, trial.bucket.height)
        network = Interpolator.load(interpolator).to(own_device())
        px = min(min(frames.shape[1:3]) for frames in large) // 4 * 4
        clips = [resized(frames, px, px) / 2 + 0.5 for frames in large]
        slow = [clip[:, ::2][:, : (clip.shape[1] + 1) // 2] for clip in clips]
        truth = torch.cat(
            [clip[:, 1 : 2 * one.shape[1] - 2 : 2].transpose(0, 1) for clip, one in zip(clips, slow, strict=True)]
        )
        ways = {
            "interpolated": [network.interpolate(one) for one in slow],
            "repeated": [repeated(one) for one in slow],
            "averaged": [_averaged(one) for one in slow],
        }
        for name, made in ways.items():
            between = torch.cat([one[:, 1::2].transpose(0, 1) for one in made])
            found[f"psnr_{name}"] = compute(psnr, between, truth)["psnr"]
        return {**found, "interpolation_gain": found["psnr_interpolated"] - found["psnr_repeated"]}


def _averaged(video: Tensor) -> Tensor:
    """[3, frames, h, w] -> [3, 2 · frames - 1, h, w]: the mean of two frames stands between them."""
    made = repeated(video).clone()
    made[:, 1::2] = (video[:, :-1] + video[:, 1:]) / 2
    return made
