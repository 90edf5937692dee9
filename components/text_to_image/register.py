"""The model with everything that serves it, and the evidence for it, becomes a version in the registry."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import read_json
from components.engines.base.stage import StageContext
from components.text_to_image.evaluate import Evaluate

STUDENT, INT8 = "optimised/student", "optimised/int8"  # folders in a version


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

    `default` serves prompts, the teacher those with a negative prompt. `extra_words` adds phrases to the categories of
    engines/safety/lexicon.yaml, `concepts` adds to those that the evaluation calibrated.
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
    student: Path,
    quantized: Path,
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
    from components.engines.tracking.register_stage import register_stage
    from components.text_to_image.serve import CLIP, UPSCALER, Painter

    folders = {
        "": text_to_image_model, STUDENT: student, INT8: quantized, UPSCALER: super_resolution, CLIP: clip_model,
    }  # fmt: skip
    settings = _settings(params, evaluate, read_json(student / "student.json"), read_json(concepts))
    evidence = [metrics, scores_json, scores_jsonl, samples]
    complete = partial(_write_captions, curated, settings)
    register_stage(context, Painter, folders, settings, evidence, receipt, complete=complete)


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
            "student": {"folder": STUDENT, **few},
            "int8": {"folder": INT8, **full},
        },
        "default": params.default,
        "negative": "teacher",
        "max_tokens": None,
        "max_prompt_chars": params.max_prompt_chars,
        "num_nearest": params.num_nearest,
        "extra_words": {name: list(phrases) for name, phrases in params.extra_words.items()},
        "concepts": [*calibrated, *(one.model_dump(mode="json") for one in params.concepts)],
    }


def _write_captions(curated: Path, settings: dict[str, Any], served: Path) -> None:
    """The captions that prompts are enhanced by, without any that would be refused."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.nn.device import own_device
    from components.engines.safety.concepts import Concept, ConceptCheck, PromptCheck
    from components.engines.safety.lexicon import PromptLexicon
    from components.engines.scoring.embedder import Embedder
    from components.text_to_image.serve import CLIP
    from components.text_to_image.serving.enhancement import write_captions

    embedder = Embedder.load(served / CLIP).to(own_device())
    concepts = ConceptCheck(embedder, [Concept.from_dict(one) for one in settings["concepts"]])
    check = PromptCheck(PromptLexicon(settings["extra_words"]), concepts)
    write_captions(served, [one.caption for one in CaptionedImages(curated, "train")], embedder, check.refusals)


if __name__ == "__main__":
    stage.main(register)
