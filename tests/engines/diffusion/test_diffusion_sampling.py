"""The sampling loop against distributions whose denoiser is known in closed form."""

import pytest
import torch
from diffusers import DDIMScheduler

from components.engines.base.errors import UsageError
from components.engines.diffusion.sampling import SAMPLERS, Sampling, make_schedule, sample_latents

NOISE = DDIMScheduler(
    beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False, timestep_spacing="trailing"
)
SHAPE = (1, 64, 64)


class Gaussian:
    """The best possible denoiser of data that is normal with mean `condition` and this deviation."""

    def __init__(self, deviation=0.5, prediction="v_prediction"):
        self.deviation, self.prediction, self.calls = deviation, prediction, 0

    def __call__(self, latents, timesteps, mean):
        self.calls += 1
        kept = NOISE.alphas_cumprod[timesteps][:, None, None, None]  # share of the signal's variance
        mean, variance = mean[:, None, None, None], self.deviation**2
        gain = variance * kept.sqrt() / (kept * variance + 1 - kept)
        clean = mean + gain * (latents - kept.sqrt() * mean)
        noise = (latents - kept.sqrt() * clean) / (1 - kept).sqrt()
        return noise if self.prediction == "epsilon" else kept.sqrt() * noise - (1 - kept).sqrt() * clean


def draw(sampler="ddim", means=(2.0,) * 8, seeds=range(8), scheduler=NOISE, denoiser=None, **options):
    condition = [torch.tensor(means)]
    options = {"steps": 50, **options}
    return sample_latents(
        denoiser or Gaussian(), make_schedule(sampler, scheduler), SHAPE, list(seeds), condition, **options
    )


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 100), ("dpm-solver", 30), ("ddpm", 1000)])
def test_samples_have_the_mean_and_deviation_of_the_data(sampler, steps):
    made = draw(sampler, steps=steps)
    assert made.mean().item() == pytest.approx(2.0, abs=0.02)
    assert made.std().item() == pytest.approx(0.5, rel=0.03)


def test_a_denoiser_that_predicts_noise_gives_the_same_distribution():
    scheduler = DDIMScheduler.from_config(NOISE.config, prediction_type="epsilon")
    # the last step back from almost pure noise divides by nearly 0: start where some signal is left
    scheduler = DDIMScheduler.from_config(scheduler.config, timestep_spacing="leading")
    made = draw(scheduler=scheduler, denoiser=Gaussian(prediction="epsilon"), steps=100)
    assert made.mean().item() == pytest.approx(2.0, abs=0.05)
    assert made.std().item() == pytest.approx(0.5, rel=0.05)


def test_guidance_leads_away_from_the_null_condition_as_far_as_it_says():
    """Noise predictions are linear in the mean here, so guidance w from mean 1 to mean 2 gives the mean 1 + w."""
    made = draw(guidance=3.0, null=[torch.ones(8)], steps=100)
    assert made.mean().item() == pytest.approx(4.0, abs=0.03)
    assert made.std().item() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(("guidance", "rows"), [(1.0, 2), (2.0, 4)])
def test_the_network_runs_once_a_step_and_only_guidance_doubles_its_batch(guidance, rows):
    seen = []

    def denoise(latents, timesteps, mean):
        seen.append((len(latents), len(timesteps), len(mean)))
        return torch.zeros_like(latents)

    draw(means=(0.0, 0.0), seeds=(1, 2), guidance=guidance, null=[torch.zeros(2)], denoiser=denoise, steps=7)
    assert seen == [(rows, rows, rows)] * 7


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_sample_depends_on_its_own_seed_alone(sampler):
    steps = 5
    together = draw(sampler, means=(0.0, 1.0, 2.0), seeds=(5, 6, 7), steps=steps)
    alone = draw(sampler, means=(1.0,), seeds=(6,), steps=steps)
    turned = draw(sampler, means=(2.0, 1.0), seeds=(7, 6), steps=steps)
    assert torch.equal(together[1], alone[0])
    assert torch.equal(together[[2, 1]], turned)
    assert not torch.equal(draw(sampler, means=(1.0,), seeds=(8,), steps=steps), alone)


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(UsageError, match=r"no sampler 'euler'.*ddim"):
        draw("euler")
    with pytest.raises(UsageError, match="needs the condition"):
        draw(guidance=2.0)
    with pytest.raises(UsageError, match="5000 steps cannot be taken"):
        draw(steps=5000)
    with pytest.raises(ValueError, match="guidance"):
        Sampling(guidance=0.5)
