"""The test prompts, and the pictures that the model and what was made of it paint of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.paths import read_json
from components.engines.base.seeds import derive
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.text_to_image.architecture import Architecture
from components.text_to_image.generator import Generator
from components.text_to_image.pictures import to_unit

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_image.evaluate import Evaluate


class Trial:
    """`pairs` of the test split, their `real` pictures, and `painted`: by way of painting, a picture of each prompt.

    Pictures: [n, 3, px, px] in [0, 1]. Ways: `guidance 3` for each of the guidances, `student` and `teacher in few steps`,
    `int8`, and `ddpm` (of the first `num_ddpm` prompts). Prompt i has the same seed in all of them.
    """

    def __init__(
        self, params: Evaluate, architecture: Architecture, cleaned: Path, model: Path, optimised: Path
    ) -> None:
        self.params, self.image_px = params, architecture.image_px
        self.pairs: list[Captioned] = CaptionedImages(cleaned, "test")[: params.num_prompts]
        self.prompts = [one.caption for one in self.pairs]
        self.seeds = [derive(params.seed, "picture", one.key) % 2**31 for one in self.pairs]
        self.real = self.pixels(self.pairs)
        self.optimised = optimised
        self.teacher = Generator.load(model)
        self.painted = {
            name_of(guidance): self._paint(self.teacher, guidance=guidance) for guidance in params.guidances
        }
        self._paint_optimised(model)
        if params.num_ddpm:
            levels = self.teacher.scheduler.config.num_train_timesteps
            some = slice(0, params.num_ddpm)
            self.painted["ddpm"] = self._paint(self.teacher, some, sampler="ddpm", steps=levels)

    @property
    def chosen(self) -> str:
        """The way of painting that the figures without another name are of."""
        return name_of(self.params.sampling.guidance)

    @property
    def unseen(self) -> np.ndarray:
        """Which prompts tell a combination that training never saw (none where nobody knows): bool [n]."""
        from components.engines.worlds.scenes import Scene

        return np.array([one.scene is not None and Scene(**one.scene).is_held_out for one in self.pairs])

    def pixels(self, images: Sequence[Captioned]) -> Tensor:
        """Pictures of the data set as the model paints them: [n, 3, image_px, image_px] in [0, 1]."""
        return to_unit([one.open() for one in images], self.image_px)

    @cached_property
    def reconstructed(self) -> Tensor:
        """The real pictures after encoding and decoding: the best that any denoiser could reach."""
        import torch

        from components.text_to_image.encoding import encode_pixels

        with torch.inference_mode():
            pieces = (self.real * 2 - 1).split(self.params.batch_size)
            return torch.cat([self.teacher.decode(encode_pixels(self.teacher.vae, piece)) for piece in pieces])

    def _paint_optimised(self, model: Path) -> None:
        """The few-step student, the teacher in as few steps, and the teacher in int8."""
        told = read_json(self.optimised / "student" / "student.json")
        steps, sampler = told["steps"], told["sampler"]
        student = Generator.load(model, self.optimised / "student")
        self.painted["student"] = self._paint(student, steps=steps, guidance=1.0, sampler=sampler)
        self.painted["teacher in few steps"] = self._paint(self.teacher, steps=steps)
        self.painted["int8"] = self._paint(Generator.load(model, self.optimised / "int8"))

    def _paint(self, generator: Generator, some: slice = slice(None), **changed: Any) -> Tensor:
        chosen = self.params.sampling
        prompts = self.prompts[some]
        settings = {"sampler": chosen.sampler, "steps": chosen.steps, "guidance": chosen.guidance, **changed}
        return generator.generate(
            prompts,
            seeds=self.seeds[some],
            negative_prompts=[chosen.negative_prompt] * len(prompts),
            batch_size=self.params.batch_size,
            **settings,
        )


def name_of(guidance: float) -> str:
    return f"guidance {guidance:g}"
