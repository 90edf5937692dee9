"""The trained model, with how it is served and the evidence for it, becomes a version in the registry."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding


class Register(Params):
    """What is served beside the weights: how texts are made, and what is answered."""

    decoding: Decoding
    max_chars: Positive = 300


def register(
    params: Register,
    context: StageContext,
    model: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    receipt: Path,
) -> None:
    """Register model and inference pipeline as one version; `receipt` (JSON) names it. The same model again: same version."""
    from components.engines.tracking.register_stage import register_stage
    from components.SYSTEM.serve import Writer

    evidence = [metrics, scores_json, scores_jsonl, samples]
    register_stage(context, Writer, {"": model}, params.model_dump(mode="json"), evidence, receipt)


if __name__ == "__main__":
    stage.main(register)
