"""Autoencoders of videos from scratch: Wan's or CogVideoX's, causal in time, so that a picture is a video of one frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from components.engines.base.errors import StageError
from components.engines.base.params import Params, Positive
from components.engines.nn.device import own_device

_LOG_VARIANCE = -6.0  # at the start, so that the decoder is not given mere noise
_CONSTANT = 1.0  # deviation of the first biases: beside them norms over channels keep how bright a pixel is


class VideoAutoencoderShape(Params):
    """AutoencoderKLWan (arXiv 2503.20314) or AutoencoderKLCogVideoX (Yang et al. 2024, arXiv 2408.06072).

    Sides are halved between the `widths`; `halve_time` says at which of these steps time is, too. Wan's folds `patch` x `patch`
    pixels into channels first.
    """

    kind: Literal["wan", "cogvideox"] = "wan"
    widths: Annotated[tuple[Positive, ...], Field(min_length=2)] = (16, 32, 32)
    halve_time: tuple[bool, ...] = (True, True)
    layers: Positive = 1
    latent_channels: Positive = 16
    patch: Literal[1, 2] = 2
    residual: bool = True
    norm_groups: Positive = 4

    @property
    def spatial_factor(self) -> int:
        return (self.patch if self.kind == "wan" else 1) * 2 ** (len(self.widths) - 1)

    @property
    def temporal_factor(self) -> int:
        return 2 ** sum(self.halve_time)

    @property
    def frame_step(self) -> int:
        """Frames come as 1 + a multiple of this (see `frame_step` below)."""
        return self.temporal_factor * (1 if self.kind == "wan" else 2)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.halve_time) != len(self.widths) - 1:
            raise ValueError(
                f"halve_time has {len(self.halve_time)} values for {len(self.widths) - 1} steps between the widths"
            )
        if self.kind == "wan" and any(width % self.widths[0] for width in self.widths):
            raise ValueError("widths of Wan's autoencoder must be multiples of the first")
        if self.kind == "wan" and self.residual and self.widths[-2] % self.widths[-1]:
            raise ValueError(
                "the last width of a residual autoencoder must divide the one before: nothing is halved between them"
            )
        if self.kind == "cogvideox" and list(self.halve_time) != sorted(self.halve_time, reverse=True):
            raise ValueError("CogVideoX halves time in its first steps")
        return self


def build_video_autoencoder(shape: VideoAutoencoderShape, side: int) -> Any:
    """Videos [n, 3, frames, side, side] in [-1, 1] <-> latents [n, channels, 1 + (frames - 1) / t, side / f, side / f]."""
    from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan

    channels = shape.latent_channels
    if shape.kind == "cogvideox":
        return AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * len(shape.widths),
            up_block_types=("CogVideoXUpBlock3D",) * len(shape.widths),
            block_out_channels=shape.widths,
            latent_channels=channels,
            layers_per_block=shape.layers,
            norm_num_groups=shape.norm_groups,
            temporal_compression_ratio=shape.temporal_factor,
            sample_height=side,
            sample_width=side,
            scaling_factor=1.0,
        )
    autoencoder: Any = AutoencoderKLWan(
        base_dim=shape.widths[0],
        z_dim=channels,
        dim_mult=[width // shape.widths[0] for width in shape.widths],
        num_res_blocks=shape.layers,
        temperal_downsample=list(shape.halve_time),
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
        in_channels=3 * shape.patch**2,
        out_channels=3 * shape.patch**2,
        patch_size=shape.patch if shape.patch > 1 else None,
        scale_factor_temporal=shape.temporal_factor,
        scale_factor_spatial=shape.spatial_factor,
        is_residual=shape.residual,
    )
    _begin_simply(autoencoder, channels)
    _begin_as_pictures(autoencoder)
    return autoencoder


def _begin_simply(autoencoder: Any, channels: int) -> None:
    """Let Wan's autoencoder start nearly linear: blocks add nothing yet, and what norms take away is kept in constants.

    As diffusers initialises it, a small one stays at the mean colour of each picture for hundreds of steps (tried).
    """
    from torch import nn

    for module in autoencoder.modules():
        name = type(module).__name__
        if name in ("WanResidualBlock", "WanAttentionBlock"):
            last = module.conv2 if name == "WanResidualBlock" else module.proj
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    for half in (autoencoder.encoder, autoencoder.decoder):
        nn.init.normal_(half.conv_in.bias, std=_CONSTANT)
    posterior = autoencoder.quant_conv  # rows: the mean, then the log-variance
    posterior.weight.data[channels:] *= 0.1
    posterior.bias.data[channels:] = _LOG_VARIANCE


def _begin_as_pictures(autoencoder: Any) -> None:
    """Let Wan's autoencoder take each frame for itself at the start: of several frames the last is kept, and given back repeated.

    So what it learnt of pictures holds for videos (inflation, Yu et al. 2024, arXiv 2310.05737, § 3.1), where convolutions that
    are random in time would blur it.
    """
    import torch
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

    for name, module in autoencoder.named_modules():
        if not isinstance(module, WanCausalConv3d) or module.kernel_size[0] == 1:
            continue
        if name.endswith("time_conv"):  # [outs, ins, 3, 1, 1]; where time is doubled, outs hold two frames
            repeats = module.out_channels // module.in_channels
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
            module.weight.data[:, :, -1, 0, 0] = torch.eye(module.in_channels).repeat(repeats, 1)
        else:
            module.weight.data[:, :, :-1] = 0.0


def factors_of(autoencoder: Any) -> tuple[int, int]:
    """(temporal, spatial) size of what one latent stands for, frames after the first."""
    config = autoencoder.config
    if type(autoencoder).__name__ == "AutoencoderKLWan":
        return config.scale_factor_temporal, config.scale_factor_spatial
    return int(config.temporal_compression_ratio), 2 ** (len(config.block_out_channels) - 1)


def frame_step(autoencoder: Any) -> int:
    """Frames come as 1 + a multiple of this. CogVideoX's decodes odd numbers of latents alone: the first stands for one frame."""
    time, _ = factors_of(autoencoder)
    return time if type(autoencoder).__name__ == "AutoencoderKLWan" else 2 * time


def latent_shape(autoencoder: Any, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
    """(channels, frames, height, width) of the latents of such a video."""
    time, space = factors_of(autoencoder)
    config = autoencoder.config
    channels = config.z_dim if type(autoencoder).__name__ == "AutoencoderKLWan" else config.latent_channels
    return channels, 1 + (frames - 1) // time, height // space, width // space


def standardise_videos(autoencoder: Any, batches: Iterable[Any]) -> None:
    """Write into the autoencoder's config what brings the latents of `batches` [n, 3, frames, height, width] to mean 0 and
    variance 1: of every channel for Wan's, over all of them for CogVideoX's, as their pipelines read it."""
    import torch

    autoencoder.eval().to(own_device())
    sums: Any = 0
    squares: Any = 0
    count = 0
    with torch.no_grad():
        for pixels in batches:
            latents = autoencoder.encode(pixels.to(own_device())).latent_dist.mode().double().cpu()
            sums, squares = sums + latents.sum((0, 2, 3, 4)), squares + latents.square().sum((0, 2, 3, 4))
            count += latents[:, 0].numel()
    autoencoder.to("cpu")
    mean = sums / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    if not bool((deviation > 0).all()):
        raise StageError(
            "A channel of the latents is constant: the autoencoder has collapsed",
            do="train it longer, or lower kl_weight of train_autoencoder",
        )
    if type(autoencoder).__name__ == "AutoencoderKLWan":
        autoencoder.register_to_config(latents_mean=mean.tolist(), latents_std=deviation.tolist())
    else:
        whole = (squares.sum() / count / len(mean)).sqrt()
        autoencoder.register_to_config(scaling_factor=1 / float(whole))
