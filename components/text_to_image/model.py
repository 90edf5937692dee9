"""The networks, from scratch or from a checkpoint: diffusers' AutoencoderKL, PixArtTransformer2DModel, UNet2DConditionModel.

Checkpoints have the layout of a pipeline of diffusers: `vae/`, `unet/` or `transformer/`, `text_encoder/`, `tokenizer/`,
`scheduler/`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.paths import read_json
from components.text_to_image.architecture import Architecture

FOLDERS = {"dit": "transformer", "unet": "unet"}
_CLASSES = {"dit": "PixArtTransformer2DModel", "unet": "UNet2DConditionModel"}
_PIXART_FACTOR = 8  # pixels a latent stands for in the checkpoints that are told the size of the picture


def build_autoencoder(architecture: Architecture) -> Any:
    """Images [n, 3, px, px] in [-1, 1] <-> latents [n, channels, px / f, px / f] (Kingma & Welling 2013, arXiv 1312.6114)."""
    from diffusers import AutoencoderKL

    shape = architecture.autoencoder
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(shape.widths),
        up_block_types=("UpDecoderBlock2D",) * len(shape.widths),
        block_out_channels=shape.widths,
        layers_per_block=shape.layers,
        latent_channels=shape.latent_channels,
        norm_num_groups=shape.norm_groups,
        sample_size=architecture.image_px,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def build_denoiser(architecture: Architecture, latent_channels: int, text_width: int) -> Any:
    """Noisy latents, timesteps, text embeddings [n, tokens, text_width] -> prediction, of the latents' shape."""
    from diffusers import PixArtTransformer2DModel, UNet2DConditionModel

    if architecture.network == "dit":
        dit = architecture.dit
        return PixArtTransformer2DModel(
            num_attention_heads=dit.heads,
            attention_head_dim=dit.width // dit.heads,
            num_layers=dit.layers,
            cross_attention_dim=dit.width,
            caption_channels=text_width,
            in_channels=latent_channels,
            out_channels=latent_channels,
            sample_size=architecture.latent_px,
            patch_size=dit.patch,
            num_embeds_ada_norm=architecture.noise.timesteps,
            use_additional_conditions=False,
        )
    unet = architecture.unet
    return UNet2DConditionModel(
        sample_size=architecture.latent_px,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * len(unet.widths),
        up_block_types=("CrossAttnUpBlock2D",) * len(unet.widths),
        block_out_channels=unet.widths,
        layers_per_block=unet.layers,
        attention_head_dim=tuple(width // unet.head_width for width in unet.widths),  # diffusers means their number
        cross_attention_dim=text_width,
        norm_num_groups=unet.norm_groups,
    )


def build_scheduler(architecture: Architecture) -> Any:
    """The noise levels, as a DDIMScheduler (any other is made of its config; see engines/generation/diffusion.py)."""
    from diffusers import DDIMScheduler

    noise = architecture.noise
    return DDIMScheduler(
        num_train_timesteps=noise.timesteps,
        beta_schedule=noise.schedule,
        prediction_type=noise.prediction,
        clip_sample=False,  # latents know no bounds
        timestep_spacing="trailing",  # sampling begins at pure noise (Lin et al. 2023, arXiv 2305.08891)
        steps_offset=1,
    )


def is_unet(network: Any) -> bool:
    from diffusers import UNet2DConditionModel

    return isinstance(network, UNet2DConditionModel)


def denoise(network: Any, latents: Any, timesteps: Any, embeddings: Any, mask: Any) -> Any:
    """What the network predicts of noisy latents [n, channels, side, side], in their shape.

    A U-Net attends to padding too, as Stable Diffusion's do; the transformer to the tokens of `mask` [n, tokens] alone. Of
    checkpoints that predict variances besides, these are left out.
    """
    if is_unet(network):
        return network(latents, timesteps, encoder_hidden_states=embeddings).sample
    output = network(
        latents,
        timestep=timesteps,
        encoder_hidden_states=embeddings,
        encoder_attention_mask=mask,
        added_cond_kwargs=_size_told(network, latents),
    ).sample
    return output[:, : latents.shape[1]]


def _size_told(network: Any, latents: Any) -> dict[str, Any]:
    """PixArt's largest checkpoints are told the picture's size in pixels and its shape (arXiv 2310.00426, § 2.3)."""
    import torch

    if not network.use_additional_conditions:
        return {"resolution": None, "aspect_ratio": None}
    height, width = (_PIXART_FACTOR * side for side in latents.shape[-2:])
    options = {"dtype": latents.dtype, "device": latents.device}
    return {
        "resolution": torch.tensor([height, width], **options).expand(len(latents), 2),
        "aspect_ratio": torch.tensor([height / width], **options).expand(len(latents), 1),
    }


def load_autoencoder(source: str | Path, subfolder: str | None = None) -> Any:
    from diffusers import AutoencoderKL

    return _load(AutoencoderKL, source, subfolder)


def load_denoiser(source: str | Path, subfolder: str | None = None, **options: Any) -> Any:
    """A folder says itself which kind its denoiser is; of a checkpoint on the hub the subfolder does. Options: diffusers'."""
    import diffusers

    name = _CLASSES["unet" if subfolder == FOLDERS["unet"] else "dit"]
    config = Path(source) / (subfolder or "") / "config.json"
    if config.is_file():
        name = read_json(config).get("_class_name", name)
    if name not in _CLASSES.values():
        raise UsageError(f"{name} is no denoiser that is known here", where=str(config), do=f"use one of {_CLASSES}")
    return _load(getattr(diffusers, name), source, subfolder, **options)


def load_scheduler(source: str | Path, subfolder: str | None = None) -> Any:
    """The checkpoint's noise levels as a DDIMScheduler, whatever scheduler it comes with."""
    from diffusers import DDIMScheduler

    return _load(DDIMScheduler, source, subfolder)


def _load(kind: Any, source: str | Path, subfolder: str | None, **options: Any) -> Any:
    """safetensors only, no code from the checkpoint; in fp32, which is to be said of quantised weights (8 bits stay 8 bits)."""
    import torch
    from diffusers import ModelMixin

    is_network = issubclass(kind, ModelMixin)
    if is_network:
        # its advice against fp32 beside 8-bit weights is outdated: what is saved and loaded so agrees (tested)
        logging.getLogger("diffusers.quantizers.torchao").setLevel(logging.ERROR)
        options = {"use_safetensors": True, "torch_dtype": torch.float32, **options}
    try:
        loaded = kind.from_pretrained(str(source), subfolder=subfolder, **options)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a {kind.__name__}: {str(error).strip().splitlines()[0]}",
            where="/".join(filter(None, (str(source), subfolder))),
            do="give a hub id or a folder in the layout of Stable Diffusion or PixArt, with safetensors",
        ) from None
    if is_network:
        loaded.register_to_config(
            _name_or_path=""
        )  # diffusers would write the path on this machine into what is saved next
    return loaded


def normalised(autoencoder: Any, latents: Any) -> Any:
    """Latents of the encoder as the denoiser knows them: (latents - shift_factor) · scaling_factor."""
    return (latents - (autoencoder.config.shift_factor or 0.0)) * autoencoder.config.scaling_factor


def denormalised(autoencoder: Any, latents: Any) -> Any:
    """The reverse of `normalised`."""
    return latents / autoencoder.config.scaling_factor + (autoencoder.config.shift_factor or 0.0)
