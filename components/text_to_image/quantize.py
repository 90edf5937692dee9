"""The trained denoiser with 8-bit weights."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage


def quantize(model: Path, quantized: Path) -> None:
    """Write a folder that Generator.load takes as `network`."""
    from components.engines.diffusion.denoiser import FOLDERS
    from components.engines.diffusion.quantization import quantize_weights

    quantize_weights(next(model / name for name in FOLDERS.values() if (model / name).is_dir()), quantized)


if __name__ == "__main__":
    stage.main(quantize)
