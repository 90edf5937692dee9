"""Autoencoders, from scratch or from a checkpoint, and their latents for denoisers: AutoencoderKL of images here, those of videos
in video.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base.errors import UsageError
from components.engines.base.params import Params, Positive
from components.engines.nn.diffusers_parts import class_of, load_part

CLASSES = ("AutoencoderKL", "AutoencoderKLWan", "AutoencoderKLCogVideoX")


class AutoencoderShape(Params):
    """AutoencoderKL: one width per resolution, each half the one before; latents have a side of image_px / 2^(widths - 1)."""

    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 32)
    layers: Positive = 1
    latent_channels: Positive = 8
    norm_groups: Positive = 8


def build_autoencoder(shape: AutoencoderShape, image_px: int) -> Any:
    """Images [n, 3, px, px] in [-1, 1] <-> latents [n, channels, px / f, px / f] (Kingma & Welling 2013, arXiv 1312.6114)."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(shape.widths),
        up_block_types=("UpDecoderBlock2D",) * len(shape.widths),
        block_out_channels=shape.widths,
        layers_per_block=shape.layers,
        latent_channels=shape.latent_channels,
        norm_num_groups=shape.norm_groups,
        sample_size=image_px,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def load_autoencoder(source: str | Path, subfolder: str | None = None) -> Any:
    """An AutoencoderKL, or that of Wan or CogVideoX, as it says itself. Raises UsageError for another."""
    import diffusers

    name = class_of(source, subfolder, CLASSES[0])
    if name not in CLASSES:
        raise UsageError(
            f"{name} is no autoencoder that is known here", where=str(source), do=f"use {', '.join(CLASSES)}"
        )
    return load_part(getattr(diffusers, name), source, subfolder)


def normalised(autoencoder: Any, latents: Any) -> Any:
    """Latents of the encoder as the denoiser knows them: (latents - shift_factor) · scaling_factor, or with Wan's a mean and a
    deviation of each channel."""
    mean, deviation = _statistics(autoencoder, latents)
    return (latents - mean) / deviation


def denormalised(autoencoder: Any, latents: Any) -> Any:
    """The reverse of `normalised`."""
    mean, deviation = _statistics(autoencoder, latents)
    return latents * deviation + mean


def _statistics(autoencoder: Any, latents: Any) -> tuple[Any, Any]:
    config = autoencoder.config
    if type(autoencoder).__name__ != "AutoencoderKLWan":
        return config.shift_factor or 0.0, 1 / config.scaling_factor
    sides = [1] * (latents.ndim - 2)
    return tuple(latents.new_tensor(values).view(1, -1, *sides) for values in (config.latents_mean, config.latents_std))
