"""Sampling from a diffusion model: from noise to latents, by any of diffusers' schedulers, guided by a condition or not.

Ho et al. 2020 (arXiv 2006.11239, DDPM), Song et al. 2021 (arXiv 2010.02502, DDIM), Ho & Salimans 2022 (arXiv 2207.12598,
classifier-free guidance), Luo et al. 2023 (arXiv 2310.04378, LCM), Lu et al. 2022 (arXiv 2211.01095, DPM-Solver++), Zhao et
al. 2023 (arXiv 2302.04867, UniPC).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from components.engines.base.errors import UsageError
from components.engines.base.params import Params, Positive
from components.engines.diffusion.noising import has_own_levels, matches_flows

SAMPLERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "lcm": "LCMScheduler",
    "dpm-solver": "DPMSolverMultistepScheduler",
}
FLOW_SAMPLERS = {"euler": "FlowMatchEulerDiscreteScheduler", "unipc": "UniPCMultistepScheduler"}

# (latents [n, …], timesteps [n], the condition's tensors, each [n, …]) -> the network's output [n, …]
Denoise = Callable[..., Any]


class Sampling(Params):
    """How samples are drawn: `guidance` 1 follows the condition as it is, more leads away from `negative_prompt`."""

    sampler: Literal["ddim", "ddpm", "lcm", "dpm-solver", "euler", "unipc"] = "ddim"
    steps: Positive = 20
    guidance: Annotated[float, Field(ge=1)] = 3.0
    negative_prompt: str = ""


def make_schedule(sampler: str, scheduler: Any) -> Any:
    """A fresh scheduler called `sampler` with the noise levels and the prediction type of `scheduler`. Raises UsageError."""
    import diffusers

    flows = matches_flows(scheduler)
    known = FLOW_SAMPLERS if flows else {"ddim": type(scheduler).__name__} if has_own_levels(scheduler) else SAMPLERS
    if sampler not in known:
        what = "a model of flows" if flows else "a diffusion model"
        raise UsageError(f"There is no sampler '{sampler}' for {what}", do=f"use one of {', '.join(known)}")
    told = (
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": scheduler.config.shift}
        if flows
        else {}
    )
    return getattr(diffusers, known[sampler]).from_config(scheduler.config, **(told if sampler == "unipc" else {}))


def sample_latents(
    denoise: Denoise,
    schedule: Any,
    shape: Sequence[int],
    seeds: Sequence[int],
    condition: Sequence[Any],
    *,
    null: Sequence[Any] | None = None,
    steps: int,
    guidance: float = 1.0,
    device: Any = "cpu",
) -> Any:
    """Samples [n, *shape], float32: sample i is a function of the network, its condition and seeds[i], whatever is beside it.

    All noise of a sample, DDPM's and LCM's at every step too, comes from a generator of its own on the CPU: the same one that a
    pipeline of diffusers given `generator=[torch.Generator().manual_seed(seed), …]` draws from. `condition` and `null` (what
    guidance leads away from; unused at guidance 1) are tensors with one row per sample. `schedule` must be fresh (see
    make_schedule): some keep what they saw.
    """
    import torch
    from diffusers.utils.torch_utils import randn_tensor

    if guidance != 1 and null is None:
        raise UsageError(f"guidance {guidance:g} needs the condition that it leads away from")
    try:
        schedule.set_timesteps(steps, device=device)
    except ValueError as error:
        raise UsageError(f"{steps} steps cannot be taken: {error}", where=type(schedule).__name__) from None
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    drawn = randn_tensor((len(seeds), *shape), generator=generators, device=torch.device(device), dtype=torch.float32)
    latents = drawn * getattr(schedule, "init_noise_sigma", 1.0)  # those of flows begin at noise as it is
    scaled = getattr(schedule, "scale_model_input", lambda latents, _: latents)
    both = condition if guidance == 1 else [torch.cat(pair) for pair in zip(null or (), condition, strict=True)]
    random = {"generator": generators} if takes_noise(schedule) else {}
    for time in schedule.timesteps:
        given = latents if guidance == 1 else torch.cat([latents, latents])
        output = denoise(scaled(given, time), time.expand(len(given)), *both).float()
        if guidance != 1:
            without, with_it = output.chunk(2)
            output = without + guidance * (with_it - without)
        latents = schedule.step(output, time, latents, **random).prev_sample
    return latents


def takes_noise(schedule: Any) -> bool:
    """Whether a step can draw noise; DDIM's does so at eta > 0 only, and is never asked to here."""
    import inspect

    return "generator" in inspect.signature(schedule.step).parameters
