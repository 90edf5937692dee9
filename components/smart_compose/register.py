"""The trained model, with its threshold, how it is served and the evidence for it, becomes a version in the registry."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext
from components.smart_compose.architecture import Architecture, Composing, Personal


class Register(Params):
    """What is served beside the weights: the longest text of a field that is answered."""

    max_chars: Positive = 20_000


def register(
    params: Register,
    architecture: Architecture,
    composing: Composing,
    personal: Personal,
    context: StageContext,
    model: Path,
    threshold: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    receipt: Path,
) -> None:
    """Register model and inference pipeline as one version; `receipt` (JSON) names it. The same model again: same version."""
    from components.engines.tracking.register_stage import register_stage
    from components.smart_compose.serve import SmartCompose

    settings = {
        "architecture": architecture.model_dump(mode="json"),
        "composing": composing.model_dump(mode="json"),
        "region": personal.region,
        "max_chars": params.max_chars,
    }
    evidence = [metrics, scores_json, scores_jsonl, samples]
    register_stage(context, SmartCompose, {"": model, "threshold": threshold}, settings, evidence, receipt)


if __name__ == "__main__":
    stage.main(register)
