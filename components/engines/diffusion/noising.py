"""How clean latents become noisy ones in training, for both kinds of schedulers: diffusion (DDPM) and flow matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Noising(Protocol):
    """Noise levels by number, from 0 to `levels` - 1."""

    levels: int

    def times(self, numbers: Tensor) -> Tensor:
        """What the network is told of these levels [n]."""
        ...

    def noisy(self, latents: Tensor, noise: Tensor, numbers: Tensor) -> Tensor: ...

    def target(self, latents: Tensor, noise: Tensor, numbers: Tensor) -> Tensor:
        """What the network is to predict, of the latents' shape."""
        ...


class DiffusionNoising:
    """Ho et al. 2020 (arXiv 2006.11239); the target is the noise, or the velocity (Salimans & Ho 2022, arXiv 2202.00512)."""

    def __init__(self, scheduler: Any) -> None:
        from diffusers import DDPMScheduler

        kind = type(scheduler) if has_own_levels(scheduler) else DDPMScheduler
        self.scheduler = kind.from_config(scheduler.config)
        self.levels = self.scheduler.config.num_train_timesteps

    def times(self, numbers: Tensor) -> Tensor:
        return numbers

    def noisy(self, latents: Tensor, noise: Tensor, numbers: Tensor) -> Tensor:
        return self.scheduler.add_noise(latents, noise, numbers)

    def target(self, latents: Tensor, noise: Tensor, numbers: Tensor) -> Tensor:
        if self.scheduler.config.prediction_type == "v_prediction":
            return self.scheduler.get_velocity(latents, noise, numbers)
        return noise


class FlowNoising:
    """Straight lines between latents and noise (Lipman et al. 2022, arXiv 2210.02747; Liu et al. 2022, arXiv 2209.03003): the
    target is the line's direction. The scheduler's `shift` moves levels towards noise, in training as in sampling."""

    def __init__(self, scheduler: Any) -> None:
        from diffusers import FlowMatchEulerDiscreteScheduler

        fresh = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
        self.shares, self.told = fresh.sigmas, fresh.timesteps  # both [levels], falling from all noise on
        self.levels = len(fresh.timesteps)

    def times(self, numbers: Tensor) -> Tensor:
        return self.told.to(numbers.device)[numbers]

    def noisy(self, latents: Tensor, noise: Tensor, numbers: Tensor) -> Tensor:
        share = self.shares.to(latents.device)[numbers].view(-1, *[1] * (latents.ndim - 1))
        return (1 - share) * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor, numbers: Tensor) -> Tensor:
        return noise - latents


def noising_of(scheduler: Any) -> Noising:
    return FlowNoising(scheduler) if matches_flows(scheduler) else DiffusionNoising(scheduler)


def has_own_levels(scheduler: Any) -> bool:
    """Whether only this class knows the noise levels of its config: CogVideoX shifts them (arXiv 2408.06072, § 2.4)."""
    return type(scheduler).__name__ == "CogVideoXDDIMScheduler"


def matches_flows(scheduler: Any) -> bool:
    """Whether networks of this scheduler predict flows."""
    return type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler"
