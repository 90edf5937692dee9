"""From prompts to pictures or videos, with the parts of a trained model folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.diffusion.parts import Parts


class Generator(Parts):
    """Parts that make pictures. Apart from them, so that what trains the parts does not change with how they are sampled."""

    def generate(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        steps: int = 20,
        guidance: float = 3.0,
        negative_prompts: Sequence[str] | None = None,
        sampler: str = "ddim",
        batch_size: int = 64,
        shape: tuple[int, ...] | None = None,
    ) -> Any:
        """Pictures [n, 3, px, px], or of latents of another `shape` (channels, frames, height, width) videos, float32 in [0, 1],
        on the CPU.

        Picture i is a function of the model, the settings, its prompts and seeds[i] alone (batching changes no more than
        float rounding does). Raises UsageError for lists that differ in length, and an unknown sampler.
        """
        import torch

        negatives = list(negative_prompts) if negative_prompts is not None else [""] * len(prompts)
        if not len(prompts) == len(seeds) == len(negatives):
            raise UsageError(
                f"{len(prompts)} prompts have {len(seeds)} seeds and {len(negatives)} negative prompts",
                do="give one of each for every picture",
            )
        if not prompts:
            raise UsageError("There are no prompts", do="give at least one")
        made = []
        for start in range(0, len(prompts), batch_size):
            part = slice(start, start + batch_size)
            with torch.inference_mode():
                made.append(self._batch(prompts[part], seeds[part], negatives[part], steps, guidance, sampler, shape))
        return torch.cat(made)

    def _batch(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        negatives: Sequence[str],
        steps: int,
        guidance: float,
        sampler: str,
        shape: tuple[int, ...] | None,
    ) -> Any:
        from components.engines.diffusion.sampling import make_schedule, sample_latents

        latents = sample_latents(
            self.denoise,
            make_schedule(sampler, self.scheduler),
            shape or self.latent_shape,
            seeds,
            self.encode_prompts(prompts),
            null=self.encode_prompts(negatives) if guidance != 1 else None,
            steps=steps,
            guidance=guidance,
            device=self.device,
        )
        return self.decode(latents).cpu()
