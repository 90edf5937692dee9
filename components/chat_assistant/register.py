"""The aligned models with reward model and safety classifier, how they answer and the evidence for it, become a version."""

from __future__ import annotations

from pathlib import Path

from components.chat_assistant.architecture import Answering, Architecture
from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext


class Register(Params):
    """What is served beside the weights: the longest conversation that is answered."""

    max_chars: Positive = 100_000


def register(
    params: Register,
    architecture: Architecture,
    answering: Answering,
    context: StageContext,
    sft: Path,
    dpo: Path,
    ppo: Path,
    reward: Path,
    safety: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    receipt: Path,
) -> None:
    """Register models and inference pipeline as one version; `receipt` (JSON) names it. The same model again: same version."""
    from components.chat_assistant.serve import ChatAssistant
    from components.engines.tracking.register_stage import register_stage

    settings = {
        "architecture": architecture.model_dump(mode="json"),
        "answering": answering.model_dump(mode="json"),
        "max_chars": params.max_chars,
    }
    parts = {"sft": sft, "dpo": dpo, "ppo": ppo, "reward": reward, "safety": safety}
    evidence = [metrics, scores_json, scores_jsonl, samples]
    register_stage(context, ChatAssistant, parts, settings, evidence, receipt)


if __name__ == "__main__":
    stage.main(register)
