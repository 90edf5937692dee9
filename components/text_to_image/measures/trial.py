"""The test prompts, and the pictures that the model and what was made of it paint of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.paths import read_json
from components.engines.base.seeds import derive
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.diffusion.generator import Generator
from components.engines.images.pixels import to_unit
from components.engines.images.stored import stored
from components.engines.nn.device import own_device
from components.text_to_image.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_image.measures.settings import TrialSettings


class Trial:
    """`pairs` of the test split, their `real` pictures, and `painted`: by sampling setting, a picture of each prompt.

    Pictures: [n, 3, px, px] in [0, 1]. Ways: `guidance 3` for each of the guidances, `student` and `teacher in few steps`,
    `int8`, and `ddpm` (of the first `num_ddpm` prompts). Prompt i has the same seed in all of them.
    All of them lie on disk, below `work`: at 512 pixels 512 prompts are 1.6 GB a setting.
    """

    def __init__(
        self,
        params: TrialSettings,
        architecture: Architecture,
        cleaned: Path,
        model: Path,
        student: Path,
        quantized: Path,
        work: Path,
    ) -> None:
        self.params, self.image_px, self.work = params, architecture.image_px, work
        self.numbers = count()
        self.pairs: list[Captioned] = CaptionedImages(cleaned, "test")[: params.num_prompts]
        self.prompts = [one.caption for one in self.pairs]
        self.seeds = [derive(params.seed, "picture", one.key) % 2**31 for one in self.pairs]
        self.real = self._stored("real", (self.pixels(self.pairs[part]) for part in self._parts(len(self.pairs))))
        self.quantized = quantized
        self.teacher = Generator.load(model).to(own_device())
        self.teacher.text.warn_of_cut(self.prompts, "prompts")
        self.painted = {
            name_of(guidance): self._paint(self.teacher, guidance=guidance) for guidance in params.guidances
        }
        self._paint_cheaply(model, student)
        if params.num_ddpm:
            levels = self.teacher.scheduler.config.num_train_timesteps
            some = slice(0, params.num_ddpm)
            self.painted["ddpm"] = self._paint(self.teacher, some, sampler="ddpm", steps=levels)

    @property
    def chosen(self) -> str:
        """The sampling setting that the figures without another name are of."""
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

        from components.engines.diffusion.encoding import encode_pixels

        teacher = self.teacher
        with torch.inference_mode():
            pieces = ((self.real[part] * 2 - 1).to(teacher.device) for part in self._parts(len(self.real)))
            made = (teacher.decode(encode_pixels(teacher.vae, piece)).cpu() for piece in pieces)
            return self._stored("reconstructed", made)

    def _paint_cheaply(self, model: Path, student: Path) -> None:
        """The few-step student, the teacher in as few steps, and the teacher in int8."""
        told = read_json(student / "student.json")
        steps, sampler = told["steps"], told["sampler"]
        few = Generator.load(model, student).to(own_device())
        self.painted["student"] = self._paint(few, steps=steps, guidance=1.0, sampler=sampler)
        self.painted["teacher in few steps"] = self._paint(self.teacher, steps=steps)
        self.painted["int8"] = self._paint(Generator.load(model, self.quantized).to(own_device()))

    def _paint(self, generator: Generator, some: slice = slice(None), **changed: Any) -> Tensor:
        chosen = self.params.sampling
        prompts = self.prompts[some]
        settings = {"sampler": chosen.sampler, "steps": chosen.steps, "guidance": chosen.guidance, **changed}
        seeds, negatives = self.seeds[some], [chosen.negative_prompt] * len(prompts)
        made = (
            generator.generate(
                prompts[part],
                seeds=seeds[part],
                negative_prompts=negatives[part],
                batch_size=self.params.batch_size,
                **settings,
            )
            for part in self._parts(len(prompts))
        )
        return self._stored(f"painted-{next(self.numbers)}", made, len(prompts))

    def _parts(self, total: int) -> list[slice]:
        size = self.params.batch_size
        return [slice(start, min(start + size, total)) for start in range(0, total, size)]

    def _stored(self, name: str, pieces: Iterable[Tensor], total: int | None = None) -> Tensor:
        return stored(self.work / f"{name}.npy", pieces, len(self.pairs) if total is None else total)


def name_of(guidance: float) -> str:
    return f"guidance {guidance:g}"
