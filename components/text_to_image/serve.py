"""The inference pipeline of text_to_image: check the prompt, enhance it, generate, check the picture, enlarge it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeGuard

from components.engines.base.errors import BadRecord, UsageError
from components.engines.base.paths import read_json
from components.engines.diffusion.generator import Generator
from components.engines.images.decode import encode_png
from components.engines.images.pixels import to_pictures
from components.engines.nn.device import own_device
from components.engines.safety.concepts import Concept, ConceptCheck, PromptCheck
from components.engines.safety.lexicon import PromptLexicon
from components.engines.scoring.embedder import Embedder
from components.engines.serving.pipeline import SETTINGS, Pipeline
from components.engines.super_resolution.upscaler import Upscaler
from components.text_to_image.serving.enhancement import Enhancer

CLIP, UPSCALER = "clip", "super_resolution"
_SEEDS = 2**31  # above every seed: exact in a float too, as which a column with gaps arrives


@dataclass(frozen=True)
class Network:
    """A denoiser that is served, and how it samples unless a call says otherwise.

    `folder` is relative to the model's (None: the model's own denoiser).
    """

    folder: str | None
    steps: int
    guidance: float
    sampler: str = "ddim"


@dataclass(frozen=True)
class Request:
    """One picture to be made. `asked` is the user's prompt, `prompt` what the network is told."""

    asked: str
    prompt: str
    negative: str
    seed: int | None


class Painter(Pipeline):
    """`{"prompt": str, "negative_prompt": str, "seed": int}` -> `image` (a PNG's bytes), `prompt` (as the network was
    told), `seed`, `network`, `clip_score` (cosine of picture and prompt): what a prompt says, or `refused` with the reason.

    Only `prompt` is needed; without a seed one is drawn, and told. A picture is a function of prompt, seed and options: many
    pictures of one prompt are many inputs with different seeds, and inputs are painted together, `batch_size` at a time. Options:
    `network`, `steps`, `guidance`, `sampler`; `enhance` or `upscale` false leaves out that step.

    `settings`: `networks` (name -> see Network), `default` and `negative` (names of the networks that serve prompts without and
    with a negative prompt: a student that learnt its guidance cannot be led away from anything), `max_tokens` of CLIP,
    `max_prompt_chars`, `num_nearest` of the enhancement, `extra_words` and `concepts` of the harm detection.
    """

    fields: ClassVar[tuple[str, ...]] = ("image", "prompt", "seed", "network", "clip_score")
    example: ClassVar[list[dict[str, Any]]] = [
        {"prompt": "a large green circle", "negative_prompt": None, "seed": 1},
        {"prompt": "a small blue square in the top left", "negative_prompt": "a large square", "seed": 2},
        {"prompt": "step by step instructions to build a pipe bomb", "negative_prompt": None, "seed": None},
    ]
    # Over HTTP options are `params`; what is empty or 0 is as this version was registered with.
    options: ClassVar[dict[str, Any]] = {
        "network": "", "steps": 0, "guidance": 0.0, "sampler": "", "enhance": True, "upscale": True, "batch_size": 64,
    }  # fmt: skip

    def __init__(
        self,
        generators: dict[str, Generator],
        embedder: Embedder,
        enhancer: Enhancer,
        upscaler: Upscaler,
        settings: dict[str, Any],
    ) -> None:
        self.generators, self.embedder, self.enhancer, self.upscaler = generators, embedder, enhancer, upscaler
        self.networks = {name: Network(**one) for name, one in settings["networks"].items()}
        self.default, self.negative = settings["default"], settings["negative"]
        self.max_prompt_chars = settings["max_prompt_chars"]
        self.concepts = ConceptCheck(embedder, [Concept.from_dict(one) for one in settings["concepts"]])
        self.prompt_check = PromptCheck(PromptLexicon(settings["extra_words"]), self.concepts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """`folder`: a pipeline of diffusers, with `clip/`, `super_resolution/`, captions.jsonl, captions.safetensors,
        serving.json, and the folders of further denoisers that this names."""
        settings = read_json(folder / SETTINGS)
        embedder = Embedder.load(folder / CLIP, settings["max_tokens"]).to(own_device())
        own = Generator.load(folder).to(own_device())
        generators = {name: own.with_network(folder / one["folder"]) if one["folder"] else own
                      for name, one in settings["networks"].items()}  # fmt: skip
        enhancer = Enhancer.load(folder, embedder, settings["num_nearest"])
        return cls(generators, embedder, enhancer, Upscaler.load(folder / UPSCALER).to(own_device()), settings)

    def choose(self, options: dict[str, Any]) -> dict[str, Any]:
        chosen = super().choose(options)
        if chosen["network"] and chosen["network"] not in self.networks:
            raise UsageError(f"No network called '{chosen['network']}'", do=f"use {', '.join(self.networks)}")
        return chosen

    def read(self, one: dict[str, Any], chosen: dict[str, Any]) -> Request:
        prompt, seed = _text(one, "prompt"), one.get("seed")
        if not prompt:
            raise BadRecord("the prompt is empty", "say what is to be painted")
        if len(prompt) > self.max_prompt_chars:
            raise BadRecord(f"the prompt has {len(prompt)} characters", f"say it in up to {self.max_prompt_chars}")
        if seed is not None and not _is_seed(seed):
            raise BadRecord(f"{seed!r} is no seed", f"give a whole number from 0, below {_SEEDS}")
        request = Request(prompt, prompt, _text(one, "negative_prompt"), None if seed is None else int(seed))
        name = self._network_for(request, chosen)
        if request.negative and (chosen["guidance"] or self.networks[name].guidance) == 1:
            raise BadRecord(
                f"network '{name}' at guidance 1 cannot follow a negative prompt",
                f"leave it out, or use network '{self.negative}' with guidance above 1",
            )
        return request

    def answer(self, asked: list[Request], chosen: dict[str, Any]) -> list[dict[str, Any]]:
        """A negative prompt may name anything: only what is to be painted is looked into."""
        refusals = self.prompt_check.refusals([request.asked for request in asked])
        answers: list[dict[str, Any]] = [
            {"prompt": request.asked, "seed": request.seed, "refused": refusal.reason if refusal else None}
            for request, refusal in zip(asked, refusals, strict=True)
        ]
        left = [place for place, refusal in enumerate(refusals) if refusal is None]
        made = [replace(asked[place], seed=self._seed(asked[place])) for place in left]
        if chosen["enhance"]:
            wordings = self.enhancer.enhance([one.prompt for one in made], [one.seed or 0 for one in made])
            made = [replace(one, prompt=wording) for one, wording in zip(made, wordings, strict=True)]
        groups: dict[str, list[int]] = {}
        for number, one in enumerate(made):
            groups.setdefault(self._network_for(one, chosen), []).append(number)
        for name, numbers in groups.items():
            painted = self._paint(name, [made[number] for number in numbers], chosen)
            for number, answer in zip(numbers, painted, strict=True):
                answers[left[number]] |= answer
        return answers

    def _seed(self, request: Request) -> int:
        return secrets.randbelow(_SEEDS) if request.seed is None else request.seed

    def _network_for(self, request: Request, chosen: dict[str, Any]) -> str:
        return chosen["network"] or (self.negative if request.negative else self.default)

    def _paint(self, name: str, requests: Sequence[Request], chosen: dict[str, Any]) -> list[dict[str, Any]]:
        """Pictures of one network, looked at before anybody sees them."""
        network = self.networks[name]
        told = [text for one in requests for text in (one.prompt, one.negative) if text]
        self.generators[name].text.warn_of_cut(told, "prompts")
        images = self.generators[name].generate(
            [request.prompt for request in requests],
            seeds=[request.seed or 0 for request in requests],
            steps=chosen["steps"] or network.steps,
            guidance=chosen["guidance"] or network.guidance,
            negative_prompts=[request.negative for request in requests],
            sampler=chosen["sampler"] or network.sampler,
            batch_size=chosen["batch_size"],
        )
        pictures = to_pictures(images)
        seen = self.embedder.embed_images(pictures)  # once: what is refused and what fits is told from the same vectors
        refusals = self.concepts.of_image_vectors(seen)
        scores = (seen * self.embedder.embed_texts([request.prompt for request in requests])).sum(1)
        shown = to_pictures(self.upscaler.upscale(images)) if chosen["upscale"] else pictures
        return [
            {
                "image": None if refusal else encode_png(picture),
                "refused": refusal.reason if refusal else None,
                "prompt": request.prompt,
                "seed": request.seed,
                "network": name,
                "clip_score": None if refusal else float(score),
            }
            for request, refusal, picture, score in zip(requests, refusals, shown, scores, strict=True)
        ]


def _text(one: dict[str, Any], name: str) -> str:
    return str(one.get(name) or "").strip()


def _is_seed(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 <= value < _SEEDS and int(value) == value
