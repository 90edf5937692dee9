"""The model with everything that serves it, and the evidence for it, becomes a version in the registry."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import read_json, write_json
from components.engines.base.stage import StageContext
from components.text_to_image.evaluate import Evaluate

OPTIMISED = "optimised"  # folder of the student and the int8 copy in a version


class ConceptParams(Params):
    """Something that is not to be painted (see safety.Concept): captions of it, and of what is like it but harmless."""

    name: str
    reason: str
    phrases: tuple[str, ...]
    alternatives: tuple[str, ...]
    image_threshold: float
    text_threshold: float


class Register(Params):
    """How the version paints unless a call says otherwise, and what it refuses.

    `default` serves prompts, the teacher those with a negative prompt. `extra_words` adds phrases to the categories of harms.py,
    `concepts` adds to those that the evaluation calibrated.
    """

    default: Literal["student", "teacher", "int8"] = "student"
    max_prompt_chars: Positive = 300
    num_nearest: Positive = 8
    extra_words: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    concepts: tuple[ConceptParams, ...] = ()


def register(
    params: Register,
    evaluate: Evaluate,
    context: StageContext,
    curated: Path,
    clip_model: Path,
    text_to_image_model: Path,
    optimised: Path,
    super_resolution: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    concepts: Path,
    receipt: Path,
) -> None:
    """Register model and inference pipeline as one version; `receipt` (JSON) names it. The same model again: same version.

    The version's folder is a pipeline of diffusers with what the inference pipeline adds beside it.
    """
    from components.engines.tracking.registry import register as register_version
    from components.text_to_image.serve import CLIP, SETTINGS, UPSCALER, Painter

    served = context.work / "served"
    shutil.copytree(text_to_image_model, served, dirs_exist_ok=True)
    for folder, name in ((optimised, OPTIMISED), (super_resolution, UPSCALER), (clip_model, CLIP)):
        shutil.copytree(folder, served / name, dirs_exist_ok=True)
    settings = _settings(params, evaluate, read_json(optimised / "student" / "student.json"), read_json(concepts))
    _write_captions(served, curated, settings)
    write_json(served / SETTINGS, settings)
    evidence = {"metrics": metrics, "scores_json": scores_json, "scores_jsonl": scores_jsonl, "samples": samples}
    libraries = ("torch", "diffusers", "transformers", "tokenizers", "safetensors", "torchao", "pillow", "pydantic")
    register_version(context, served, Painter, evidence, libraries=libraries).write(receipt)


def _settings(
    params: Register, evaluate: Evaluate, student: dict[str, Any], calibrated: list[dict[str, Any]]
) -> dict[str, Any]:
    """What serving.json says (see serve.Painter)."""
    chosen = evaluate.sampling
    full = {"steps": chosen.steps, "guidance": chosen.guidance, "sampler": chosen.sampler}
    few = {name: student[name] for name in ("steps", "guidance", "sampler")}
    return {
        "networks": {
            "teacher": {"folder": None, **full},
            "student": {"folder": f"{OPTIMISED}/student", **few},
            "int8": {"folder": f"{OPTIMISED}/int8", **full},
        },
        "default": params.default,
        "negative": "teacher",
        "max_tokens": None,
        "max_prompt_chars": params.max_prompt_chars,
        "num_nearest": params.num_nearest,
        "extra_words": {name: list(phrases) for name, phrases in params.extra_words.items()},
        "concepts": [*calibrated, *(one.model_dump(mode="json") for one in params.concepts)],
    }


def _write_captions(served: Path, curated: Path, settings: dict[str, Any]) -> None:
    """The captions that prompts are enhanced by, without any that would be refused."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.scoring.embedder import Embedder
    from components.text_to_image.enhancement import write_captions
    from components.text_to_image.safety import Concept, ConceptCheck, PromptCheck, PromptLexicon
    from components.text_to_image.serve import CLIP

    embedder = Embedder.load(served / CLIP)
    concepts = ConceptCheck(embedder, [Concept.from_dict(one) for one in settings["concepts"]])
    check = PromptCheck(PromptLexicon(settings["extra_words"]), concepts)
    write_captions(served, [one.caption for one in CaptionedImages(curated, "train")], embedder, check.refusals)


if __name__ == "__main__":
    stage.main(register)
