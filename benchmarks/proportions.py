"""What cached latents can save, from the shapes of published models: FLOPs of a training step with and without both encoders.

Computed on shapes, without weights or time, as if all parts used the hardware equally well.
MosaicML measured 1.4 for Stable Diffusion 2 at 512 px (mosaicml/diffusion).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

T5_XXL = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_heads": 64,
    "num_layers": 24,
    "feed_forward_proj": "gated-gelu",
}
OPENCLIP_H = {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "intermediate_size": 4096}
PIXART_XL = {
    "num_layers": 28, "num_attention_heads": 16, "attention_head_dim": 72, "cross_attention_dim": 1152, "patch_size": 2,
    "in_channels": 4, "out_channels": 8, "caption_channels": 4096, "use_additional_conditions": False,
}  # fmt: skip
SD2_UNET = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
VAE = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
LATENT_PX = 8  # pixels a latent stands for, in all
# Wan 2.1 of 1.3 billion parameters and its UMT5-XXL: https://huggingface.co/Wan-AI/Wan2.1-T2V-1.3B-Diffusers
WAN = {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30, "text_dim": 4096}
LATENT_FRAMES, WAN_TOKENS = 4, 512
STEP = 3  # forward and backward, in forwards


def run() -> list[dict[str, Any]]:
    """Rows: `ours` and `theirs` in steps of one picture per PFLOP."""
    with torch.device("meta"):
        pictures = [pixart(256, bar=2.0), pixart(512, bar=None), stable_diffusion(512)]
        videos = [
            wan(1, 256, 256, bar=2.0),
            *(wan(*size, bar=None) for size in ((5, 256, 256), (17, 256, 256), (81, 480, 832))),
        ]
        return [*pictures, *videos]


def pixart(px: int, bar: float | None) -> dict[str, Any]:
    from diffusers import PixArtTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    side, tokens = px // LATENT_PX, 120
    denoiser = PixArtTransformer2DModel(sample_size=side, **PIXART_XL)
    said = {
        "encoder_hidden_states": torch.zeros(1, tokens, T5_XXL["d_model"]),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
    }
    step = STEP * tera_flops(lambda: denoiser(torch.zeros(1, 4, side, side), timestep=torch.zeros(1).long(), **said))
    text_encoder = T5EncoderModel(T5Config(vocab_size=32128, **T5_XXL))
    encoders = tera_flops(lambda: text_encoder(torch.zeros(1, tokens).long())) + picture_encoder(px)
    return row(f"PixArt-alpha at {px} px", step, encoders, bar)


def stable_diffusion(px: int) -> dict[str, Any]:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    side, tokens = px // LATENT_PX, 77
    denoiser = UNet2DConditionModel(sample_size=side, **SD2_UNET)
    given = (torch.zeros(1, 4, side, side), torch.zeros(1).long(), torch.zeros(1, tokens, 1024))
    text_encoder = CLIPTextModel(CLIPTextConfig(**OPENCLIP_H))
    encoders = tera_flops(lambda: text_encoder(torch.zeros(1, tokens).long())) + picture_encoder(px)
    return row(f"Stable Diffusion 2 at {px} px", STEP * tera_flops(lambda: denoiser(*given)), encoders, None)


def wan(frames: int, height: int, width: int, bar: float | None) -> dict[str, Any]:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    latents = (1, 16, 1 + (frames - 1) // LATENT_FRAMES, height // LATENT_PX, width // LATENT_PX)
    said = torch.zeros(1, WAN_TOKENS, WAN["text_dim"])
    denoiser = WanTransformer3DModel(**WAN)
    step = STEP * tera_flops(lambda: denoiser(torch.zeros(latents), torch.zeros(1), said))
    autoencoder = AutoencoderKLWan()
    encoders = tera_flops(lambda: autoencoder.encode(torch.zeros(1, 3, frames, height, width)))
    text_encoder = UMT5EncoderModel(UMT5Config(vocab_size=256384, **T5_XXL))
    encoders += tera_flops(lambda: text_encoder(torch.zeros(1, WAN_TOKENS).long()))
    return row(f"Wan 2.1 1.3B, {frames} frames at {height} x {width}", step, encoders, bar)


def picture_encoder(px: int) -> float:
    """Of the autoencoder that both have."""
    from diffusers import AutoencoderKL

    autoencoder = AutoencoderKL(**VAE)
    return tera_flops(lambda: autoencoder.encode(torch.zeros(1, 3, px, px)))


def tera_flops(call: Callable[[], Any]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        call()
    return counter.get_total_flops() / 1e12


def row(name: str, step: float, encoders: float, bar: float | None) -> dict[str, Any]:
    return {
        "name": f"computed from shapes: train on cached latents / encode in every step, {name}",
        "ours": round(1000 / step, 1),
        "theirs": round(1000 / (step + encoders), 1),
        "ratio": round((step + encoders) / step, 3),
        "bar": bar,
    }
