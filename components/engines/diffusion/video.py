"""Denoisers of videos from scratch: Wan's transformer, Latte, or a U-Net with temporal convolution and attention."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from components.engines.base.params import Count, Params, Positive
from components.engines.diffusion.denoiser import Noise


class WanShape(Params):
    """WanTransformer3DModel (arXiv 2503.20314): attention over all 3-D patches, with rotary positions (Su et al. 2021, arXiv
    2104.09864), and cross-attention to the text. With `experts` each feed-forward network is a mixture of so many
    (nn/experts.py), which together see `capacity` times all tokens."""

    width: Positive = 128
    layers: Positive = 4
    heads: Positive = 4
    patch: tuple[Positive, Positive, Positive] = (1, 1, 1)
    experts: Count = 0
    capacity: Annotated[float, Field(gt=0)] = 2.0


class LatteShape(Params):
    """LatteTransformer3DModel (arXiv 2401.03048): layers within frames and along time in turns."""

    width: Positive = 128
    layers: Positive = 4
    heads: Positive = 4
    patch: Positive = 1


class Unet3dShape(Params):
    """UNet3DConditionModel (Wang et al. 2023, arXiv 2308.06571): each block convolves and attends within frames, then in time."""

    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (48, 96)
    layers: Positive = 1
    head_width: Positive = 24
    norm_groups: Positive = 8


class FlowNoise(Noise):
    """Noise, with flows unless it is said otherwise."""

    prediction: Literal["v_prediction", "epsilon", "flow"] = "flow"


class VideoDenoiserShapes(Params):
    """The denoiser is one of three, of its shape here; `noise` is what it takes away."""

    network: Literal["wan", "latte", "unet3d"] = "wan"
    wan: WanShape = WanShape()
    latte: LatteShape = LatteShape()
    unet3d: Unet3dShape = Unet3dShape()
    noise: FlowNoise = FlowNoise()


def build_video_denoiser(
    shapes: VideoDenoiserShapes, channels: int, frames: int, side: int, text_width: int, max_tokens: int
) -> Any:
    """Noisy latents [n, channels, frames, height, width], timesteps, text embeddings [n, tokens, text_width] -> prediction.

    `frames` and `side` are the longest and largest latents (Latte knows no others of another side).
    """
    import diffusers

    if shapes.network == "wan":
        from components.engines.nn.experts import ExpertWanTransformer3DModel

        wan = shapes.wan
        kind = ExpertWanTransformer3DModel if wan.experts else diffusers.WanTransformer3DModel
        experts = {"num_experts": wan.experts, "capacity": wan.capacity} if wan.experts else {}
        return kind(
            patch_size=wan.patch,
            num_attention_heads=wan.heads,
            attention_head_dim=wan.width // wan.heads,
            in_channels=channels,
            out_channels=channels,
            text_dim=text_width,
            freq_dim=64,
            ffn_dim=4 * wan.width,
            num_layers=wan.layers,
            cross_attn_norm=True,
            rope_max_seq_len=max(32, frames, side),
            **experts,
        )
    if shapes.network == "latte":
        latte = shapes.latte
        return diffusers.LatteTransformer3DModel(
            num_attention_heads=latte.heads,
            attention_head_dim=latte.width // latte.heads,
            in_channels=channels,
            out_channels=channels,
            num_layers=latte.layers,
            cross_attention_dim=latte.width,
            sample_size=side,
            patch_size=latte.patch,
            caption_channels=text_width,
            video_length=frames,
            num_embeds_ada_norm=shapes.noise.timesteps,
            attention_bias=True,
            activation_fn="gelu",  # exact: on a CPU 1.8 times as fast as the approximation by tanh
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
        )
    unet = shapes.unet3d
    return diffusers.UNet3DConditionModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("CrossAttnDownBlock3D",) * len(unet.widths),
        up_block_types=("CrossAttnUpBlock3D",) * len(unet.widths),
        block_out_channels=unet.widths,
        layers_per_block=unet.layers,
        attention_head_dim=unet.head_width,
        cross_attention_dim=text_width,
        norm_num_groups=unet.norm_groups,
    )
