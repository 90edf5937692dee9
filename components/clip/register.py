"""The trained model, with how it is served and the evidence for it, becomes a version in the registry."""

from __future__ import annotations

from pathlib import Path

from components.clip.architecture import Architecture
from components.engines.base import stage
from components.engines.base.params import Params
from components.engines.base.stage import StageContext
from components.engines.images.decode import Limits


class Register(Params):
    """What is served beside the weights: the limits of images that are asked about."""

    limits: Limits = Limits()


def register(
    params: Register,
    architecture: Architecture,
    context: StageContext,
    model: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    receipt: Path,
) -> None:
    """Register model and inference pipeline as one version; `receipt` (JSON) names it. The same model again: same version."""
    from components.clip.serve import Scorer
    from components.engines.tracking.register_stage import register_stage

    evidence = [metrics, scores_json, scores_jsonl, samples]
    register_stage(
        context,
        Scorer,
        {"": model},
        {"limits": params.limits.model_dump(), "max_tokens": architecture.max_tokens},
        evidence,
        receipt,
    )


if __name__ == "__main__":
    stage.main(register)
