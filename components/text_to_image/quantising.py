"""A denoiser with 8-bit weights: a quarter of the size, the same pictures within rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def quantise(folder: Path, quantised: Path) -> None:
    """Write the denoiser in `folder` with the weights of its linear layers as int8, one scale a row (LLM.int8-like rounding
    without outliers: torchao's Int8WeightOnlyConfig), the rest as it was; safetensors, loadable like any denoiser of diffusers.
    """
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig

    from components.text_to_image.model import load_denoiser

    network = load_denoiser(folder, quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
    network.save_pretrained(quantised, safe_serialization=True)


def weight_bytes(folder: Path) -> int:
    """Size of a denoiser's weights on disk."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def output_error(generator: Any, other: Any, prompts: list[str], seed: int) -> float:
    """How far the outputs of two generators' denoisers differ on noise at random levels: |difference| / |output|."""
    import torch

    chance = torch.Generator().manual_seed(seed)
    latents = torch.randn((len(prompts), *generator.latent_shape), generator=chance).to(generator.device)
    timesteps = torch.randint(generator.scheduler.config.num_train_timesteps, (len(prompts),), generator=chance)
    given = (latents, timesteps.to(generator.device), *generator.encode_prompts(prompts))
    with torch.inference_mode():
        exact, close = generator.denoise(*given).float(), other.denoise(*given).float()
    return float((close - exact).norm() / exact.norm())
