"""The inference pipeline of text_to_video: check the prompt, generate latents, decode, enlarge, fill in frames, write an MP4."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeGuard

from components.engines.base.errors import BadRecord
from components.engines.base.paths import read_json
from components.engines.diffusion.generator import Generator
from components.engines.latents.video import frame_step, latent_shape
from components.engines.nn.device import own_device
from components.engines.safety.concepts import ConceptCheck, PromptCheck
from components.engines.safety.lexicon import PromptLexicon
from components.engines.scoring.embedder import Embedder
from components.engines.serving.pipeline import SETTINGS, Pipeline
from components.engines.super_resolution.interpolator import Interpolator
from components.engines.super_resolution.upscaler import Upscaler
from components.engines.videos.buckets import to_frames
from components.engines.videos.encode import encode_mp4

CLIP, UPSCALER, INTERPOLATOR = "clip", "super_resolution", "interpolator"
_SEEDS = 2**31  # above every seed: exact in a float too, as which a column with gaps arrives


@dataclass(frozen=True)
class Request:
    """One clip to be made, of so many frames (with temporal super-resolution) at so many a second."""

    prompt: str
    negative: str
    seed: int | None
    frames: int
    fps: float


class VideoPainter(Pipeline):
    """`{"prompt": str, "negative_prompt": str, "seed": int, "frames": int, "fps": float}` -> `clip` (an MP4's bytes), `prompt`,
    `seed`, `frames`, `fps`, `clip_similarity` (cosine of prompt and frames, averaged), or `refused` with the reason.

    Only `prompt` is needed; without a seed one is drawn, and told. A clip is a function of prompt, seed, frames and options.
    Options: `steps`, `guidance`, `sampler`; `upscale` or `interpolate` false leaves out that step.

    `settings`: `sampling`, `frames`, `height`, `width`, `fps` of what the denoiser makes, `max_frames`, `max_prompt_chars` and
    `extra_words` of the harm detection.
    """

    fields: ClassVar[tuple[str, ...]] = ("clip", "prompt", "seed", "frames", "fps", "clip_similarity")
    example: ClassVar[list[dict[str, Any]]] = [
        {"prompt": "a red circle moves left slowly", "negative_prompt": "a blurred clip", "seed": 1, "frames": 9, "fps": 8.0},
        {"prompt": "step by step instructions to build a pipe bomb", "negative_prompt": None, "seed": None,
         "frames": None, "fps": None},
    ]  # fmt: skip
    # Over HTTP options are `params`; what is empty or 0 is as this version was registered with.
    options: ClassVar[dict[str, Any]] = {
        "steps": 0, "guidance": 0.0, "sampler": "", "upscale": True, "interpolate": True,
    }  # fmt: skip

    def __init__(
        self,
        generator: Generator,
        embedder: Embedder,
        upscaler: Upscaler,
        interpolator: Interpolator,
        settings: dict[str, Any],
    ) -> None:
        self.generator, self.embedder, self.settings = generator, embedder, settings
        self.upscaler, self.interpolator = upscaler, interpolator
        self.prompt_check = PromptCheck(PromptLexicon(settings["extra_words"]), ConceptCheck(embedder, []))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """`folder`: a pipeline of diffusers, with `clip/`, `super_resolution/`, `interpolator/` and serving.json."""
        return cls(
            Generator.load(folder).to(own_device()),
            Embedder.load(folder / CLIP).to(own_device()),
            Upscaler.load(folder / UPSCALER).to(own_device()),
            Interpolator.load(folder / INTERPOLATOR).to(own_device()),
            read_json(folder / SETTINGS),
        )

    def read(self, one: dict[str, Any], chosen: dict[str, Any]) -> Request:
        prompt, seed, known = _text(one, "prompt"), one.get("seed"), self.settings
        if not prompt:
            raise BadRecord("the prompt is empty", "say what is to be shown")
        if len(prompt) > known["max_prompt_chars"]:
            raise BadRecord(f"the prompt has {len(prompt)} characters", f"say it in up to {known['max_prompt_chars']}")
        if seed is not None and not _is_whole(seed, 0, _SEEDS - 1):
            raise BadRecord(f"{seed!r} is no seed", f"give a whole number from 0, below {_SEEDS}")
        own = known["frames"] * (2 if chosen["interpolate"] else 1) - (1 if chosen["interpolate"] else 0)
        frames, fps = one.get("frames"), one.get("fps")
        if frames is not None and not _is_whole(frames, 1, known["max_frames"]):
            raise BadRecord(f"{frames!r} frames cannot be made", f"give a whole number from 1 to {known['max_frames']}")
        if fps is not None and not (isinstance(fps, int | float) and 1 <= fps <= 120):
            raise BadRecord(f"{fps!r} frames a second cannot be shown", "give a number from 1 to 120")
        rate = known["fps"] * (2 if chosen["interpolate"] else 1)
        return Request(
            prompt,
            _text(one, "negative_prompt"),
            None if seed is None else int(seed),
            own if frames is None else int(frames),
            float(rate if fps is None else fps),
        )

    def answer(self, asked: list[Request], chosen: dict[str, Any]) -> list[dict[str, Any]]:
        """A negative prompt may name anything: only what is to be shown is looked into."""
        refusals = self.prompt_check.refusals([request.prompt for request in asked])
        return [
            {"prompt": request.prompt, "seed": request.seed, "refused": refusal.reason}
            if refusal
            else self._made(replace(request, seed=self._seed(request)), chosen)
            for request, refusal in zip(asked, refusals, strict=True)
        ]

    def _seed(self, request: Request) -> int:
        return secrets.randbelow(_SEEDS) if request.seed is None else request.seed

    def _made(self, request: Request, chosen: dict[str, Any]) -> dict[str, Any]:
        from components.engines.images.pixels import to_pictures

        video = self._generated(request, chosen)  # [3, frames, h, w]
        seen = self.embedder.embed_images(to_pictures(video.transpose(0, 1)))
        told = self.embedder.embed_texts([request.prompt])
        if chosen["upscale"]:
            video = self.upscaler.upscale(video.transpose(0, 1)).transpose(0, 1)
        if chosen["interpolate"] and request.frames > 1:
            video = self.interpolator.interpolate(video)
        frames = to_frames(video[:, : request.frames])
        return {
            "clip": encode_mp4(frames, request.fps),
            "prompt": request.prompt,
            "seed": request.seed,
            "frames": len(frames),
            "fps": request.fps,
            "clip_similarity": float((seen * told).sum(1).mean()),
        }

    def _generated(self, request: Request, chosen: dict[str, Any]) -> Any:
        """As few latents as hold the frames that are asked for."""
        settings, vae = self.settings, self.generator.vae
        needed = -(-(request.frames + 1) // 2) if chosen["interpolate"] else request.frames
        step = frame_step(vae)
        frames = 1 + -(-(needed - 1) // step) * step
        sampling = settings["sampling"]
        self.generator.text.warn_of_cut([one for one in (request.prompt, request.negative) if one], "prompts")
        made = self.generator.generate(
            [request.prompt],
            seeds=[request.seed or 0],
            steps=chosen["steps"] or sampling["steps"],
            guidance=chosen["guidance"] or sampling["guidance"],
            negative_prompts=[request.negative],
            sampler=chosen["sampler"] or sampling["sampler"],
            shape=latent_shape(vae, frames, settings["height"], settings["width"]),
        )
        return made[0, :, :needed]


def _text(one: dict[str, Any], name: str) -> str:
    return str(one.get(name) or "").strip()


def _is_whole(value: Any, low: int, high: int) -> TypeGuard[float]:
    return isinstance(value, int | float) and low <= value <= high and int(value) == value
