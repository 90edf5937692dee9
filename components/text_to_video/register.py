"""The model with everything that serves it, and the evidence for it, becomes a version in the registry."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext
from components.text_to_video.architecture import Architecture
from components.text_to_video.clean import Clean
from components.text_to_video.evaluate import Evaluate


class Register(Params):
    """How the version answers: clips of up to `max_frames`; `extra_words` adds to categories of engines/safety/lexicon.yaml."""

    max_frames: Positive = 65
    max_prompt_chars: Positive = 300
    extra_words: dict[str, tuple[str, ...]] = Field(default_factory=dict)


def register(
    params: Register,
    evaluate: Evaluate,
    architecture: Architecture,
    clean: Clean,
    context: StageContext,
    clip_model: Path,
    text_to_video_model: Path,
    super_resolution: Path,
    interpolator: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    receipt: Path,
) -> None:
    """Register model and inference pipeline as one version; `receipt` (JSON) names it. The same model again: same version.

    The version's folder is a pipeline of diffusers with what the inference pipeline adds beside it.
    """
    from components.engines.tracking.register_stage import register_stage
    from components.text_to_video.serve import CLIP, INTERPOLATOR, UPSCALER, VideoPainter

    bucket, sampling = architecture.longest, evaluate.sampling
    folders = {"": text_to_video_model, UPSCALER: super_resolution, INTERPOLATOR: interpolator, CLIP: clip_model}
    settings = {
        "sampling": {"steps": sampling.steps, "guidance": sampling.guidance, "sampler": sampling.sampler},
        "frames": bucket.frames,
        "height": bucket.height,
        "width": bucket.width,
        "fps": clean.fps / bucket.stride,
        "max_frames": params.max_frames,
        "max_prompt_chars": params.max_prompt_chars,
        "extra_words": {name: list(phrases) for name, phrases in params.extra_words.items()},
    }
    register_stage(context, VideoPainter, folders, settings, [metrics, scores_json, scores_jsonl, samples], receipt)


if __name__ == "__main__":
    stage.main(register)
