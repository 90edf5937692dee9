"""Library, both networks, prompts and how they are used, with the evidence for them, become one version in the registry."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.rag.architecture import Architecture, Serving, settings_of


def register(
    serving: Serving,
    architecture: Architecture,
    context: StageContext,
    library: Path,
    encoder: Path,
    generator: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    receipt: Path,
) -> None:
    """Register them as one version; `receipt` (JSON) names it. The same again: same version."""
    from components.engines.tracking.register_stage import register_stage
    from components.rag import serve

    parts = {serve.LIBRARY: library, serve.ENCODER: encoder, serve.GENERATOR: generator}
    evidence = [metrics, scores_json, scores_jsonl, samples]
    register_stage(context, serve.Assistant, parts, settings_of(serving, architecture), evidence, receipt)


if __name__ == "__main__":
    stage.main(register)
