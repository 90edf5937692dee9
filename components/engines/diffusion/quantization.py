"""A denoiser with 8-bit weights: a quarter of the size, the same pictures within rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def quantize_weights(folder: Path, quantized: Path) -> None:
    """Write the denoiser in `folder` with the weights of its linear layers as int8 with one scale a row (torchao's
    Int8WeightOnlyConfig), the rest as it was: a folder that diffusers loads, safetensors.
    """
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig

    from components.engines.diffusion.denoiser import load_denoiser

    network = load_denoiser(folder, quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
    network.save_pretrained(quantized, safe_serialization=True)
    for path in quantized.glob("*.safetensors"):
        sort_header(path)


def sort_header(path: Path) -> None:
    """Put the keys of a safetensors file's header in order: metadata of several keys are written in a random one.

    The format: 8 bytes with the header's length, the header (JSON, padded with spaces), the tensors.
    """
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[start:])


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
