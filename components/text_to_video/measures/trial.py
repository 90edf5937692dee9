"""The test prompts, the clips that the model makes of them, and the real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.errors import StageError
from components.engines.base.seeds import derive
from components.engines.diffusion.encoding import encode_pixels
from components.engines.diffusion.generator import Generator
from components.engines.images.stored import stored
from components.engines.latents.video import latent_shape
from components.engines.nn.device import own_device
from components.engines.videos.buckets import fitted
from components.engines.videos.dataset import Video, Videos
from components.text_to_video.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_video.measures.settings import TrialSettings


class Trial:
    """`videos` of the test split that are long enough, as `real` clips; `made` by guidance, a clip of each prompt.

    Clips: [n, 3, frames, px, px] in [0, 1], on disk below `work`. Prompt i has the same seed at every guidance.
    """

    def __init__(
        self, params: TrialSettings, architecture: Architecture, curated: Path, model: Path, work: Path
    ) -> None:
        self.params, self.bucket, self.work, self.numbers = params, architecture.longest, work, count()
        self.videos: list[Video] = self._long(Videos(curated, "test"), params.num_prompts)
        self.prompts = [one.caption for one in self.videos]
        self.seeds = [derive(params.seed, "clip", one.key) % 2**31 for one in self.videos]
        self.real = self.clips(self.videos)
        self.reference = self.clips(self._long(Videos(curated, "train"), params.num_reference))
        self.generator = Generator.load(model).to(own_device())
        self.generator.text.warn_of_cut(self.prompts, "prompts")
        self.made = {guidance: self._make(guidance) for guidance in params.guidances}

    @property
    def generated(self) -> Tensor:
        """Clips at the guidance that figures without another name are of."""
        return self.made[self.params.sampling.guidance]

    @property
    def unseen(self) -> np.ndarray:
        """Which prompts tell a combination that training never saw (none where nobody knows): bool [n]."""
        from components.text_to_video.world.motion import Motion

        return np.array([one.scene is not None and Motion(**one.scene).is_held_out for one in self.videos])

    @cached_property
    def reconstructed(self) -> Tensor:
        """The real clips after encoding and decoding: the best that any denoiser could reach."""
        import torch

        parts = self.generator
        with torch.inference_mode():
            pieces = ((self.real[part] * 2 - 1).to(parts.device) for part in self._parts(len(self.real)))
            made = (parts.decode(encode_pixels(parts.vae, piece)).cpu() for piece in pieces)
            return self._stored(made, len(self.real))

    def clips(self, videos: Sequence[Video]) -> Tensor:
        import torch

        parts = self._parts(len(videos))
        pieces = (torch.stack([fitted(one.frames(), self.bucket) for one in videos[part]]) / 2 + 0.5 for part in parts)
        return self._stored(pieces, len(videos))

    def _long(self, videos: Videos, most: int) -> list[Video]:
        found: list[Video] = []
        for one in videos:
            if len(found) == most:
                break
            if one.metadata["frames"] >= self.bucket.span:
                found.append(one)
        if len(found) < 2:
            raise StageError(
                f"{len(found)} clips of {videos.reader.split} have the {self.bucket.span} frames that are needed",
                where="params.yaml, text_to_video.architecture.buckets",
                do="give longer clips, or generate fewer frames",
            )
        return found

    def _make(self, guidance: float) -> Tensor:
        chosen, bucket = self.params.sampling, self.bucket
        shape = latent_shape(self.generator.vae, bucket.frames, bucket.height, bucket.width)
        made = (
            self.generator.generate(
                self.prompts[part],
                seeds=self.seeds[part],
                steps=chosen.steps,
                guidance=guidance,
                negative_prompts=[chosen.negative_prompt] * len(self.prompts[part]),
                sampler=chosen.sampler,
                batch_size=self.params.batch_size,
                shape=shape,
            )
            for part in self._parts(len(self.prompts))
        )
        return self._stored(made, len(self.prompts))

    def _parts(self, total: int) -> list[slice]:
        size = self.params.batch_size
        return [slice(start, min(start + size, total)) for start in range(0, total, size)]

    def _stored(self, pieces: Iterable[Tensor], total: int) -> Any:
        return stored(self.work / f"clips-{next(self.numbers)}.npy", pieces, total)
