"""The trained model, with how it is served and the evidence for it, becomes a version in the registry."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Params
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.engines.sources.images import Limits


class Register(Params):
    """What is served beside the weights. `inclusive`: captions are rewritten by the rules of fairness.py."""

    decoding: Decoding
    limits: Limits = Limits()
    inclusive: bool = True


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
    from components.engines.tracking.registry import register as register_version
    from components.image_captioning.serve import SETTINGS, Captioner

    served = context.work / "served"
    shutil.copytree(model, served, dirs_exist_ok=True)
    write_json(served / SETTINGS, params.model_dump(mode="json"))
    evidence = {"metrics": metrics, "scores_json": scores_json, "scores_jsonl": scores_jsonl, "samples": samples}
    libraries = ("torch", "transformers", "tokenizers", "pillow", "pydantic")
    register_version(context, served, Captioner, evidence, libraries=libraries).write(receipt)


if __name__ == "__main__":
    stage.main(register)
